"""The command: its numbers are those of the functions, for every kind of file; bad pairs are one line each."""

import csv
import io
import json
import math
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
import torch

import msssim

Image = pytest.importorskip("PIL.Image", reason="needs Pillow: python -m pip install pillow")

from msssim import cli, cli_images, cli_output  # noqa: E402  (after the check that skips this file)

PHOTO = np.random.default_rng(0).integers(0, 256, (190, 200, 3), dtype=np.uint8)
PHOTO[20:160, 30:170] //= 4
NOISY = np.clip(PHOTO + np.random.default_rng(1).normal(0, 20, PHOTO.shape), 0, 255).astype(np.uint8)


def tensor(array):
    return torch.from_numpy(np.array(array if array.ndim == 2 else array.transpose(2, 0, 1), order="C"))


def save(path, array, mode=None, **options):
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return str(path)


@pytest.fixture
def files(tmp_path):
    return save(tmp_path / "a.png", PHOTO), save(tmp_path / "b.png", NOISY)


@pytest.fixture
def run(capsys):
    def _run(*arguments):
        try:
            code = cli.main([str(each) for each in arguments])
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return _run


@pytest.fixture
def values(run):
    """A function: the values of one pair, exactly."""

    def _values(*arguments):
        code, out, err = run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)["pairs"][0]

    return _values


def test_the_numbers_of_the_functions(run, values, files):
    x, y = tensor(PHOTO), tensor(NOISY)
    expected = {"ssim": msssim.ssim(x, y).item(), "msssim": msssim.msssim(x, y).item()}
    found = values(*files)
    assert {name: found[name] for name in expected} == expected
    code, out, err = run(*files)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"SSIM {expected['ssim']:.6f}", f"MS-SSIM {expected['msssim']:.6f}"]
    assert values(*files, "--metric", "ssim").keys() == {"reference", "distorted", "ssim"}


@pytest.mark.parametrize(
    "options, prepare, more",
    [
        (["--gray"], lambda image: msssim.luma(image, "matlab"), {}),
        (["--luma", "bt601"], lambda image: msssim.luma(image / 255, "bt601"), {}),
        (["--luma", "ycbcr"], lambda image: msssim.luma(image / 255, "ycbcr"), {}),
        (["--crop-border", "4"], lambda image: image[:, 4:-4, 4:-4], {}),
        (["--backend", "torch"], lambda image: image, {"backend": "torch"}),
    ],
)
def test_options(values, files, options, prepare, more):
    x, y = prepare(tensor(PHOTO)), prepare(tensor(NOISY))
    found = values(*files, *options)
    assert found["ssim"] == pytest.approx(msssim.ssim(x, y, **more).item(), abs=1e-6)
    assert found["msssim"] == pytest.approx(msssim.msssim(x, y, **more).item(), abs=1e-6)
    assert abs(found["ssim"] - msssim.ssim(tensor(PHOTO), tensor(NOISY)).item()) > 1e-5 or more


def test_downsample(values, tmp_path):
    large = [np.tile(image, (3, 3, 1)) for image in (PHOTO, NOISY)]
    names = [save(tmp_path / f"{i}.png", image) for i, image in enumerate(large)]
    found = values(*names, "--downsample", "auto", "--metric", "ssim")["ssim"]
    assert (
        found == msssim.ssim(*map(tensor, large), downsample="auto").item() != msssim.ssim(*map(tensor, large)).item()
    )


def test_decibels_scales_and_csv(run, values, files):
    index, terms = msssim.msssim(tensor(PHOTO), tensor(NOISY), scales=True)
    found = values(*files, "--db", "--per-scale")
    assert found["msssim"] == pytest.approx(-10 * math.log10(1 - index.item()), rel=1e-9)
    assert found["scales"] == pytest.approx(terms.mean(0).tolist(), abs=1e-12)
    (row,) = csv.DictReader(io.StringIO(run(*files, "--per-scale", "--csv")[1]))
    assert float(row["msssim"]) == index.item() and float(row["scale_5"]) == pytest.approx(terms[:, 4].mean().item())
    assert f"{terms[:, 0].mean().item():.6f}" in run(*files, "--per-scale")[1]
    assert cli_output.decibels(1.0) == math.inf
    assert json.loads(run(files[0], files[0], "--db", "--json")[1])["pairs"][0]["ssim"] is None


def test_fail_under(run, files):
    index = msssim.ssim(tensor(PHOTO), tensor(NOISY)).item()
    assert run(*files, "--metric", "ssim", "--fail-under", index - 1e-6)[0] == 0
    assert run(*files, "--metric", "ssim", "--fail-under", index + 1e-6)[0] == 1
    limit = -10 * math.log10(1 - index)
    assert run(*files, "--metric", "ssim", "--db", "--fail-under", limit + 1e-3)[0] == 1
    negative = run(files[0], save_negative(files), "--metric", "msssim", "--fail-under", "0")
    assert negative[0] == 1 and "nan" in negative[1]
    code, _, err = run(*files, "--fail-under", "0.5")
    assert code == 2 and "--fail-under needs --metric" in err


def save_negative(files):
    path = files[0].replace("a.png", "negative.png")
    Image.fromarray(255 - PHOTO).save(path)
    return path


def test_map(values, tmp_path, files):
    pytest.importorskip("matplotlib", reason="needs Matplotlib")
    maps = tmp_path / "maps"
    assert values(*files, "--map", maps)["ssim"] == pytest.approx(msssim.ssim(tensor(PHOTO), tensor(NOISY)).item())
    with Image.open(maps / "b.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) >= 180 and pixels.std() > 10


WIDE = (PHOTO.astype(np.uint16) << 8) + np.random.default_rng(2).integers(0, 256, PHOTO.shape, dtype=np.uint16)


@pytest.mark.parametrize(
    "name, mode, options, expected",
    [
        ("rgb.png", None, {}, PHOTO),
        ("gray.png", "L", {}, np.asarray(Image.fromarray(PHOTO).convert("L"))[..., None]),
        ("rgb.tif", None, {"compression": "tiff_lzw"}, PHOTO),
        ("rgb.webp", None, {"lossless": True}, PHOTO),
        ("rgb.bmp", None, {}, PHOTO),
        ("two.png", "1", {}, np.asarray(Image.fromarray(PHOTO).convert("1").convert("L"))[..., None]),
        ("palette.png", "P", {}, np.asarray(Image.fromarray(PHOTO).convert("P").convert("RGB"))),
        ("cmyk.tif", "CMYK", {}, PHOTO),
    ],
)
def test_kinds_of_files(tmp_path, name, mode, options, expected):
    save(tmp_path / name, PHOTO, mode, **options)
    found = cli_images.read(tmp_path / name)
    assert found.dtype == torch.uint8 and torch.equal(found, tensor(expected))


@pytest.mark.parametrize("mode, worst", [(None, 30), ("L", 30), ("CMYK", 60)])
def test_jpeg(tmp_path, mode, worst):
    smooth = np.indices((64, 64)).sum(0).astype(np.uint8)[..., None] * np.array([1, 2, 1], np.uint8)
    save(tmp_path / "a.jpg", smooth, mode, quality=95)
    found = cli_images.read(tmp_path / "a.jpg")
    expected = tensor(smooth if mode != "L" else np.asarray(Image.fromarray(smooth).convert("L"))[..., None])
    assert found.shape == expected.shape and (found.int() - expected.int()).abs().max() < worst


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits(tmp_path, suffix, channels):
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: python -m pip install opencv-python-headless")
    pixels = np.dstack([WIDE, WIDE[..., :1]])[..., :channels]
    path = tmp_path / f"wide{suffix}"
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    assert cv2.imwrite(str(path), pixels[..., order].squeeze())
    if channels == 4:
        with pytest.raises(
            cli_images.PairError, match="has an alpha channel; pass --alpha ignore or --alpha composite"
        ):
            cli_images.read(path)
    found = cli_images.read(path, "ignore")
    expected = tensor(pixels[..., :3].astype(np.int32))
    assert found.dtype == torch.uint16 and torch.equal(found.int(), expected)


def test_sixteen_bits_are_compared_in_their_range(values, tmp_path):
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: python -m pip install opencv-python-headless")
    noisy = np.clip(WIDE.astype(int) + np.random.default_rng(3).normal(0, 3000, WIDE.shape), 0, 65535).astype(np.uint16)
    for name, image in (("a.png", WIDE), ("b.png", noisy)):
        cv2.imwrite(str(tmp_path / name), image[..., ::-1])
    x, y = (tensor(image.astype(np.float64)) for image in (WIDE, noisy))
    found = values(tmp_path / "a.png", tmp_path / "b.png")
    assert found["ssim"] == pytest.approx(msssim.ssim(x, y, data_range=65535).item(), abs=1e-6)
    gray = values(tmp_path / "a.png", tmp_path / "b.png", "--gray")
    planes = [msssim.luma(tensor(image), "matlab").double() for image in (WIDE, noisy)]
    assert gray["msssim"] == pytest.approx(msssim.msssim(*planes, data_range=65535).item(), abs=1e-6)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "wide.png", "wide.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, name, orientation):
    turned = {
        1: PHOTO, 2: PHOTO[:, ::-1], 3: PHOTO[::-1, ::-1], 4: PHOTO[::-1], 5: PHOTO.swapaxes(0, 1),
        6: PHOTO.swapaxes(0, 1)[:, ::-1], 7: PHOTO[::-1, ::-1].swapaxes(0, 1), 8: PHOTO.swapaxes(0, 1)[::-1],
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    if name.startswith("wide"):
        _save_wide(tmp_path / name, orientation, exif)
        turned = turned.astype(np.uint16) * 257
    else:
        save(tmp_path / name, PHOTO, exif=exif, quality=100, subsampling=0, lossless=True)
    found = cli_images.read(tmp_path / name).int()
    assert found.shape == tensor(turned.astype(np.int32)).shape
    difference = (found - tensor(turned.astype(np.int32))).abs().float().mean()
    assert difference < (20 if name == "a.jpg" else 1e-6)


def _save_wide(path, orientation, exif):
    pytest.importorskip("cv2", reason="needs OpenCV: python -m pip install opencv-python-headless")
    if path.suffix == ".tif":
        tifffile = pytest.importorskip("tifffile", reason="needs tifffile")
        pixels = PHOTO.astype(np.uint16) * 257
        tifffile.imwrite(path, pixels, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
        return
    import cv2

    data = cv2.imencode(".png", PHOTO[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    body = b"eXIf" + exif.tobytes()[6:]  # without the header of JPEG
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    path.write_bytes(data[:33] + chunk + data[33:])


def test_alpha(tmp_path):
    opacity = np.random.default_rng(4).integers(0, 256, (*PHOTO.shape[:2], 1), dtype=np.uint8)
    save(tmp_path / "a.png", np.dstack([PHOTO, opacity]))
    with pytest.raises(cli_images.PairError, match="alpha channel; pass --alpha ignore or --alpha composite"):
        cli_images.read(tmp_path / "a.png")
    assert torch.equal(cli_images.read(tmp_path / "a.png", "ignore"), tensor(PHOTO))
    over_white = PHOTO * (opacity / 255) + 255 * (1 - opacity / 255)
    found = cli_images.read(tmp_path / "a.png", "composite")
    assert (found.double() - tensor(over_white)).abs().max() <= 0.5 + 1e-9
    save(tmp_path / "p.png", PHOTO, "P", transparency=3)
    with pytest.raises(cli_images.PairError, match="alpha channel"):
        cli_images.read(tmp_path / "p.png")


@pytest.fixture
def folders(tmp_path):
    for i in range(7):
        noisy = np.clip(PHOTO + np.random.default_rng(i).normal(0, 10 * (i + 1), PHOTO.shape), 0, 255).astype(np.uint8)
        save(tmp_path / "ref" / f"{i}.png", PHOTO)
        save(tmp_path / "dist" / (f"{i}.webp" if i % 2 else f"{i}.png"), noisy, **({"lossless": True} if i % 2 else {}))
    return tmp_path / "ref", tmp_path / "dist"


def test_folders(run, folders):
    code, out, err = run(*folders, "--csv")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["reference"] for row in rows] == [str(folders[0] / f"{i}.png") for i in range(7)]
    indices = [float(row["ssim"]) for row in rows]
    assert indices == sorted(indices, reverse=True) and indices[0] > indices[6] + 0.1
    table = run(*folders, "--metric", "ssim")[1].splitlines()
    assert table[0] == "SSIM" and table[1].split() == ["mean", "of", "7", f"{np.mean(indices):.6f}"]
    assert [line.split() for line in table[2:]] == [[f"{i}.png", f"{indices[i]:.6f}"] for i in (6, 5, 4, 3, 2)]


def test_bad_pairs_are_one_line_each_and_the_rest_goes_on(run, folders):
    reference, distorted = folders
    save(distorted / "0.png", NOISY[:180])
    (distorted / "2.png").write_bytes(b"no image")
    (distorted / "4.png").write_bytes((distorted / "4.png").read_bytes()[:2000])
    save(reference / "alone.png", PHOTO)
    save(distorted / "extra.jpg", PHOTO)
    save(distorted / "6.png", PHOTO, "L")
    code, out, err = run(*folders, "--csv")
    assert code == 2 and len(list(csv.DictReader(io.StringIO(out)))) == 3
    lines = err.splitlines()
    assert len(lines) == 6 and all(line.startswith("msssim: ") for line in lines)
    for expected in (
        "must have the same size, got 200 × 190 and 200 × 180 pixels", "2.png: cannot be read", "4.png: cannot be read",
        "alone.png: has no partner in", "extra.jpg: has no partner in", "the same number of channels, got 3 and 1",
    ):  # fmt: skip
        assert sum(expected in line for line in lines) == 1, expected


def test_several_partners(run, tmp_path):
    save(tmp_path / "ref" / "a.png", PHOTO)
    for suffix in ("jpg", "webp"):
        save(tmp_path / "dist" / f"a.{suffix}", NOISY)
    code, out, err = run(tmp_path / "ref", tmp_path / "dist")
    assert (code, out) == (2, "") and "a.png: has several partners" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["missing.png", "b.png"], "missing.png: there is no such file or folder"),
        (["a.png", "."], "must be two files or two folders"),
        (["a.png", "b.png", "--crop-border", "-1"], "must be 0 or more, got -1"),
        (["a.png", "b.png", "--crop-border", "100"], "must have more than 200 pixels a side"),
        (["a.png", "b.png", "--gray", "--luma", "bt601"], "not allowed with argument"),
        (["a.png", "b.png", "--metric", "ssim", "--per-scale"], "--per-scale needs MS-SSIM"),
        (["a.png", "b.png", "--device", "nowhere"], "nowhere"),
        (["a.png", "b.png", "--crop-border", "20"], "pass --small fewer to use the 4 scales"),
    ],
)
def test_errors(run, files, monkeypatch, arguments, message):
    monkeypatch.chdir(files[0].rsplit("a.png", 1)[0])
    code, _, err = run(*arguments)
    assert code == 2 and message in err


def test_small_fewer(values, files):
    found = values(*files, "--crop-border", "20", "--small", "fewer")["msssim"]
    x, y = (tensor(image)[:, 20:-20, 20:-20] for image in (PHOTO, NOISY))
    assert found == pytest.approx(msssim.msssim(x, y, small="fewer").item(), abs=1e-9)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "msssim.cli_images")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match="needs PIL: python -m pip install numpy pillow"):
        import msssim.cli_images  # noqa: F401


def test_python_m_msssim(files):
    command = [sys.executable, "-m", "msssim", *files, "--metric", "ssim", "--fail-under", "0.999"]
    msssim.ssim(tensor(PHOTO), tensor(NOISY))  # compiles the kernel: the command would print that it does
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == f"SSIM {msssim.ssim(tensor(PHOTO), tensor(NOISY)).item():.6f}\n"


def test_the_next_pair_is_decoded_while_one_is_compared(run, folders, monkeypatch):
    decoded, seen = threading.Semaphore(0), []
    read, measure = cli._read, cli._measure

    def reading(pair, alpha):
        images = read(pair, alpha)
        decoded.release()
        return images

    def measuring(pair, images, options):
        # This pair is decoded, and the next one without that this one is finished.
        expected = 1 if len(seen) == 6 else 2
        assert all(decoded.acquire(timeout=60) for _ in range(expected if not seen else expected - 1))
        seen.append(pair.name)
        return measure(pair, images, options)

    monkeypatch.setattr(cli, "_read", reading)
    monkeypatch.setattr(cli, "_measure", measuring)
    code, out, err = run(*folders, "--csv", "--metric", "ssim")
    assert (code, err, len(seen)) == (0, "", 7)
    assert [row["reference"] for row in csv.DictReader(io.StringIO(out))] == [
        str(folders[0] / f"{i}.png") for i in range(7)
    ]
