"""``msssim --stream``: the number of images in memory for every layout of TIFF and NPY; broken files are one line."""

import json
import os
import sys

import pytest
import torch

import msssim

np = pytest.importorskip("numpy")
pytest.importorskip("numba", reason="streaming needs Numba")
pytest.importorskip("PIL.Image", reason="the command needs Pillow: python -m pip install pillow")

from msssim import cli, cli_stream  # noqa: E402  (after the checks that skip this file)

SHAPES = {"gray": (190, 181), "last": (190, 181, 3), "first": (3, 190, 181)}


def pair(shape, dtype=np.uint8):
    random = np.random.default_rng(0)
    x = random.random(shape)
    y = np.clip(0.8 * x + 0.2 * random.random(shape), 0, 1)
    peak = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return [(peak * image).astype(dtype) for image in (x, y)]


def in_memory(images, last=False, **options):
    x, y = (torch.from_numpy(image.astype(image.dtype.newbyteorder("="))) for image in images)
    if last:
        x, y = x.permute(2, 0, 1), y.permute(2, 0, 1)
    if x.dtype == torch.uint16:
        x, y, options = x.float(), y.float(), {"data_range": 65535, **options}
    return msssim.msssim(x, y, backend="numba", **options).item()


@pytest.fixture
def run(capsys):
    def _run(*arguments):
        try:
            code = cli.main([*map(str, arguments), "--stream"])
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return _run


@pytest.fixture
def value(run):
    """A function: MS-SSIM of one pair, exactly."""

    def _value(*arguments):
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        (found,) = json.loads(out)["pairs"]
        assert found.keys() <= {"reference", "distorted", "msssim", "scales"}
        return found["msssim"]

    return _value


def save_npy(folder, images):
    paths = folder / "a.npy", folder / "b.npy"
    for path, image in zip(paths, images, strict=True):
        np.save(path, image)
    return paths


def save_tiff(folder, images, **options):
    tifffile = pytest.importorskip("tifffile", reason="needs tifffile: python -m pip install tifffile")
    paths = folder / "a.tif", folder / "b.tiff"
    for path, image in zip(paths, images, strict=True):
        tifffile.imwrite(path, image, **options)
    return paths


@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", "float32", "float64"])
@pytest.mark.parametrize("layout", SHAPES)
def test_npy(value, tmp_path, layout, dtype):
    images = pair(SHAPES[layout], dtype)
    assert value(*save_npy(tmp_path, images)) == in_memory(images, layout == "last")


TIFF = {
    "one strip": {},
    "several strips": {"rowsperstrip": 7},
    "big-endian": {"byteorder": ">"},
    "compressed strips": {"rowsperstrip": 32, "compression": "zlib"},
    "tiles": {"tile": (64, 48)},
    "compressed tiles": {"tile": (64, 48), "compression": "zlib"},
}


@pytest.mark.parametrize("options", TIFF.values(), ids=TIFF)
@pytest.mark.parametrize("layout", ["gray", "last"])
def test_tiff(value, tmp_path, layout, options):
    images = pair(SHAPES[layout], np.uint16 if "byteorder" in options else np.uint8)
    known = {"photometric": "rgb"} if layout == "last" else {}
    assert value(*save_tiff(tmp_path, images, **known, **options)) == in_memory(images, layout == "last")


def test_tiff_with_planes(value, run, tmp_path):
    images = pair(SHAPES["first"])
    planes = {"photometric": "rgb", "planarconfig": "separate"}
    assert value(*save_tiff(tmp_path, images, **planes)) == in_memory(images)
    code, _, err = run(*save_tiff(tmp_path, images, **planes, compression="zlib"))
    assert code == 2 and "save it with interleaved channels" in err


def test_alpha_of_tiff(run, value, tmp_path):
    images = pair((190, 181, 4))
    paths = save_tiff(tmp_path, images, photometric="rgb", extrasamples=["unassalpha"])
    code, _, err = run(*paths)
    assert code == 2 and err.splitlines() == [
        f"msssim: {paths[0]}: has an alpha channel; with --stream pass --alpha ignore"
    ]
    assert value(*paths, "--alpha", "ignore") == in_memory([image[..., :3] for image in images], last=True)


def test_rows_of_a_block(tmp_path):
    image = pair(SHAPES["last"])[0]
    npy, tiles = save_npy(tmp_path, [image] * 2)[0], save_tiff(tmp_path, [image] * 2, tile=(64, 48))[0]
    planes = tmp_path / "planes.npy"
    np.save(planes, image.transpose(2, 0, 1))
    for start, stop in ((0, 1), (10, 65), (63, 130), (150, 190)):
        for path in (npy, tiles):
            with cli_stream.Rows(path, "refuse") as rows:
                assert rows.shape == image.shape and not rows.channels_first
                np.testing.assert_array_equal(rows[start:stop], image[start:stop])
        with cli_stream.Rows(planes, "refuse") as rows:
            assert rows.channels_first
            np.testing.assert_array_equal(rows[:, start:stop], image.transpose(2, 0, 1)[:, start:stop])


@pytest.mark.parametrize("kind", ["npy", "tiff", "tiles", "zlib"])
def test_a_truncated_file_is_one_line(run, tmp_path, kind):
    options = {"tiff": {}, "tiles": {"tile": (64, 48)}, "zlib": {"rowsperstrip": 16, "compression": "zlib"}}
    images = pair(SHAPES["gray"])
    paths = save_npy(tmp_path, images) if kind == "npy" else save_tiff(tmp_path, images, **options[kind])
    # The directory of a TIFF may be at its end: at the start is what cannot be cut.
    os.truncate(paths[1], paths[1].stat().st_size - 100)
    code, out, err = run(*paths)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and f"{paths[1]}: cannot be read: " in err


@pytest.mark.parametrize("kind", ["npy", "zlib"])
def test_a_file_that_becomes_shorter_is_one_line(run, tmp_path, kind, monkeypatch):
    images = pair(SHAPES["gray"])
    options = {"rowsperstrip": 16, "compression": "zlib"}
    paths = save_npy(tmp_path, images) if kind == "npy" else save_tiff(tmp_path, images, **options)
    opened = cli_stream.Rows.__init__

    def cut(self, path, alpha):
        opened(self, path, alpha)
        os.truncate(path, path.stat().st_size // 2)

    monkeypatch.setattr(cli_stream.Rows, "__init__", cut)
    code, out, err = run(*paths)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and "became shorter while it was read" in err


def test_folders_go_on_after_a_broken_file(run, tmp_path):
    images = pair(SHAPES["gray"])
    for folder, image in zip(("ref", "dist"), images, strict=True):
        (tmp_path / folder).mkdir()
        for name in "abc":
            np.save(tmp_path / folder / f"{name}.npy", image)
        (tmp_path / folder / "other.png").write_bytes(b"not read")
    (tmp_path / "dist" / "b.npy").write_bytes(b"no array")
    code, out, err = run(tmp_path / "ref", tmp_path / "dist", "--csv", "--fail-under", "0")
    assert code == 2 and len(err.splitlines()) == 1 and "b.npy: cannot be read" in err
    assert [line.split(",")[2] for line in out.splitlines()] == ["msssim"] + [str(in_memory(images))] * 2


def test_scales_decibels_and_limit(run, value, tmp_path):
    paths = save_npy(tmp_path, images := pair(SHAPES["last"]))
    index = in_memory(images, last=True)
    assert value(*paths, "--db") == pytest.approx(-10 * np.log10(1 - index))
    code, out, _ = run(*paths, "--per-scale", "--fail-under", index + 1e-6)
    assert code == 1 and len(out.splitlines()) == 2 and out.startswith("MS-SSIM ")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["a.npy", "b.npy", "--gray"], "as they are stored, on the CPU; leave out --gray"),
        (["a.npy", "b.npy", "--metric", "ssim"], "leave out --metric ssim"),
        (["a.npy", "b.npy", "--crop-border", "2"], "leave out --crop-border"),
        (["a.npy", "b.npy", "--backend", "torch"], "leave out --backend"),
        (["a.npy", "c.npy"], "must have the same shape, got (190, 181) and (190, 180)"),
        (["a.npy", "d.npy"], "must have the same dtype"),
        (["a.npy", "e.npy"], "must have real numbers, got complex64"),
        (["a.npy", "f.npy"], "must have shape (H, W), (H, W, C) or (C, H, W), got (9,)"),
        (["a.npy", "g.npy"], "stored in Fortran order; save numpy.ascontiguousarray(image)"),
        (["a.npy", "h.png"], "--stream reads files with the suffixes .tif, .tiff, .npy"),
        (["small.npy", "small.npy"], "pass --small fewer to use the 4 scales"),
    ],
)
def test_errors(run, tmp_path, monkeypatch, arguments, message):
    x, y = pair(SHAPES["gray"])
    others = {"c": y[:, 1:].copy(), "d": y.astype(np.float32), "e": y.astype(np.complex64), "f": np.zeros(9)}
    for name, image in {"a": x, "b": y, **others, "g": np.asfortranarray(y), "small": x[:100, :100].copy()}.items():
        np.save(tmp_path / f"{name}.npy", image)
    (tmp_path / "h.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 2 and message in err


def test_missing_tifffile_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    code, _, err = run(tmp_path / "a.tif", tmp_path / "a.tif")
    assert code == 2 and "TIFF files need tifffile with --stream: python -m pip install tifffile" in err
