"""stream(): the same bits as in memory, whatever the block; clear errors, and little memory."""

import os
import sys

import pytest
import torch

import msssim

np = pytest.importorskip("numpy")
pytest.importorskip("numba")


def pair(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator)
    y = (0.8 * x + 0.2 * torch.rand(shape, generator=generator)).clamp(0, 1)
    return [image.to(dtype) if dtype.is_floating_point else (255 * image).to(dtype) for image in (x, y)]


def assert_same_bits(x, y, rows, whole=None, **options):
    streamed = msssim.stream(x, y, rows=rows, scales=True, **options)
    options.pop("channels_last", None)
    expected = msssim.msssim(*(whole or (x, y)), scales=True, backend="numba", **options)
    for found, known in zip(streamed, expected, strict=True):
        assert found.dtype == known.dtype and found.shape == known.shape
        assert torch.equal(found.nan_to_num(7), known.nan_to_num(7))
    return streamed[0]


@pytest.mark.parametrize("rows", [1, 63, 64, 90, 1000, None])
def test_the_number_of_rows_of_a_block_changes_no_bit(rows):
    assert_same_bits(*pair(339, 177, dtype=torch.uint8), rows)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(dtype):
    assert_same_bits(*pair(2, 201, 178, dtype=dtype), 80)


def test_channels_last():
    x, y = pair(201, 178, 3, dtype=torch.uint8)
    whole = [image.permute(2, 0, 1) for image in (x, y)]
    assert_same_bits(x, y, 64, whole, channels_last=True)
    assert_same_bits(x[..., 0], y[..., 0], 64, channels_last=True)


def test_options():
    x, y = pair(190, 177)
    assert_same_bits(x, 1 - x, 50, normalize="covariance", K1=0, K2=0)
    assert_same_bits(x, y, 50, method="wtd_sum", weights=(1, 2), win_size=7, sigma=1.0, data_range=2)
    assert_same_bits(x[:40], y[:40], 7, small="fewer")


@pytest.mark.filterwarnings("ignore:data_range is:UserWarning")
def test_planes_that_are_computed_in_float64_and_those_beyond_its_squares():
    x, y = pair(3, 201, 177)
    x[1], y[1] = 0, 0.25
    x[2, :, 100:], y[2, :, 100:] = 1, 0.75
    assert_same_bits(x, y, 60)
    x, y = pair(2, 201, 177)
    x[0] *= 1e30
    assert_same_bits(x, y, 60, data_range=1e4)
    x[0, 150, 3] = float("nan")
    assert_same_bits(x, y, 60, data_range=1e4)
    assert_same_bits(*(1e200 * image for image in pair(201, 177, dtype=torch.float64)), 60, data_range=1e4)


def test_integers_that_kernels_do_not_take():
    x, y = (image.mul(256).numpy() for image in pair(190, 180, dtype=torch.int32))
    whole = [torch.from_numpy(image).float() for image in (x, y)]
    for order in ("<u2", ">u2"):
        assert_same_bits(x.astype(order), y.astype(order), 70, whole, data_range=65535)


def test_different_floating_point_dtypes():
    x, y = pair(190, 180)
    assert_same_bits(x, y.double(), 70)


class Chunked:
    """As zarr.Array: slices are arrays, and nothing else works."""

    def __init__(self, array):
        self._array, self.shape, self.dtype, self.largest = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        block = self._array[key]
        self.largest = max(self.largest, len(block))
        return block.copy()


def test_no_more_rows_than_asked_are_read_at_a_time():
    images = [Chunked(image.numpy()) for image in pair(400, 180)]
    value = msssim.stream(*images, rows=32)
    assert [image.largest for image in images] == [32, 32]
    assert torch.equal(value, msssim.msssim(*pair(400, 180), backend="numba"))


def test_the_rows_held_of_each_scale_are_few():
    from msssim.backends.numba.plan import plan
    from msssim.backends.numba.streaming import blocks

    found = list(blocks(plan(1, 30000, 400, 5, False), 10, 512))
    assert found[-1].finished == tuple(int(shape[3]) for shape in plan(1, 30000, 400, 5, False).shapes)
    for level in range(5):
        held = max(block.ends[level] - block.firsts[level] for block in found)
        assert held <= (512 >> level) + 160


def mapped(folder, name, image):
    path = folder / name
    image.tofile(path)
    return path, np.memmap(path, image.dtype, "r", shape=image.shape)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not truncate files that are mapped")
@pytest.mark.parametrize("view", [lambda image: image, lambda image: image[1:], np.asarray])
def test_a_file_that_becomes_shorter_is_an_error(tmp_path, view):
    x, y = (image.numpy() for image in pair(800, 400, dtype=torch.uint8))
    (_, one), (path, other) = mapped(tmp_path, "x", x), mapped(tmp_path, "y", y)
    whole = [torch.from_numpy(view(image)) for image in (x, y)]
    assert torch.equal(msssim.stream(view(one), view(other)), msssim.msssim(*whole, backend="numba"))

    class Cut(Chunked):
        def __getitem__(self, key):
            if key.start >= 200:
                os.truncate(path, 400 * 300)
            return super().__getitem__(key)

    with pytest.raises(OSError, match=r"distorted: .* has 120000 bytes, and 320000 are mapped"):
        msssim.stream(Cut(view(one)), view(other), rows=100)


def test_a_file_that_was_cut_after_the_last_row_is_an_error(tmp_path):
    x, y = (image.numpy() for image in pair(400, 200, dtype=torch.uint8))
    path, one = mapped(tmp_path, "x", x)

    class Cut(Chunked):
        def __getitem__(self, key):
            block = super().__getitem__(key)
            if key.stop == 400 and key.start == 300:
                os.truncate(path, 79999)
            return block

    if sys.platform != "win32":
        with pytest.raises(OSError, match=r"reference: .* has 79999 bytes, and 80000 are mapped"):
            msssim.stream(one, Cut(y), rows=100)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"rows": 0}, ValueError, "rows must be an integer >= 1 or None, got 0"),
        ({"reference": torch.zeros(4, 400, 200)}, ValueError, "must have the same shape, got"),
        (
            {"reference": torch.zeros(400)},
            ValueError,
            r"reference must have shape \(H, W\) or \(C, H, W\), got \(400,\)",
        ),
        ({"reference": [[1.0]]}, TypeError, "reference must slice like an array and have shape and dtype, got list"),
        ({"distorted": torch.zeros(400, 200, dtype=torch.uint8)}, TypeError, "must have the same dtype"),
        ({"win_size": 33, "weights": (1.0,)}, ValueError, "win_size=31, got 33"),
        ({"distorted": torch.zeros(400, 200, dtype=torch.complex64)}, TypeError, "real values"),
    ],
)
def test_errors(change, error, message):
    x, y = pair(400, 200)
    arguments = {"reference": x, "distorted": y, **change}
    with pytest.raises(error, match=message):
        msssim.stream(arguments.pop("reference"), arguments.pop("distorted"), **arguments)


def test_errors_of_small_and_of_transposed_images():
    with pytest.raises(ValueError, match=r'at least 176 .* got 64 × 400; pass small="fewer"'):
        msssim.stream(torch.zeros(64, 400), torch.zeros(64, 400))
    with pytest.raises(ValueError, match="pass channels_last=True"):
        msssim.stream(torch.zeros(400, 400, 3), torch.zeros(400, 400, 3))


def test_a_source_that_gives_other_rows_than_asked():
    class Short(Chunked):
        def __getitem__(self, key):
            return self._array[key][:50]

    x, y = pair(400, 200)
    with pytest.raises(ValueError, match=r"distorted must give rows of shape \(100, 200\) .* got \(50, 200\)"):
        msssim.stream(x, Short(y.numpy()), rows=100)


def test_a_wrong_range_is_warned_of():
    x, y = pair(400, 200)
    with pytest.warns(UserWarning, match="the images span more than that; pass their own range"):
        msssim.stream(255 * x, 255 * y)


def test_progress(capsys, monkeypatch):
    x, y = pair(400, 200)
    msssim.stream(x, y, progress=True, rows=100)
    assert "400/400" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="python -m pip install tqdm"):
        msssim.stream(x, y, progress=True)
