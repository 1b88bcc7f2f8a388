"""Wrong arguments raise a clear error: it names the argument, what it must be and what it is."""

import re

import numpy as np
import pytest
import torch

import msssim

IMAGE = torch.rand(1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
SMALL = IMAGE[..., :100]


def case(error, argument, got, *, function=("ssim", "msssim"), images=(IMAGE, IMAGE), must="", **options):
    names = (function,) if isinstance(function, str) else function
    return [pytest.param(error, argument, got, name, images, must, options) for name in names]


IMAGES = [
    *case(TypeError, "img1", "numpy.ndarray", images=(np.zeros((64, 64)), IMAGE), must="torch.Tensor"),
    *case(TypeError, "img2", "builtins.NoneType", images=(IMAGE, None), must="torch.Tensor"),
    *case(TypeError, "img1", "torch.complex64", images=(IMAGE * 1j, IMAGE * 1j), must="real"),
    *case(TypeError, "img2", "torch.complex64", images=(IMAGE, IMAGE * 1j), must="real"),
    *case(TypeError, "img1", "sparse_coo", images=(IMAGE[0, 0].to_sparse(), IMAGE), must="dense"),
    *case(TypeError, "img2", "mkldnn", images=(IMAGE, IMAGE.to_mkldnn()), must="dense"),
    *case(ValueError, "img2", "(1, 1, 200, 100)", images=(IMAGE, SMALL), must="(1, 1, 200, 200)"),
    *case(ValueError, "img2", "(200, 200)", images=(IMAGE, IMAGE[0, 0]), must="(1, 1, 200, 200)"),
    *case(ValueError, "img2", "(1, 1, 200, 100)", images=(IMAGE, SMALL), must="expand()"),
    *case(ValueError, "img1", "(200,)", images=(IMAGE[0, 0, 0], IMAGE[0, 0, 0]), must="(N, C, H, W)"),
    *case(ValueError, "img1", "(1, 1, 1, 200, 200)", images=(IMAGE[None], IMAGE[None]), must="(N, C, H, W)"),
    *case(ValueError, "img1", "(0, 1, 200, 200)", images=(IMAGE[:0], IMAGE[:0]), must="at least one pixel"),
    *case(TypeError, "img2", "torch.uint8", images=(IMAGE, IMAGE.byte()), must="pass img2 / 255 if"),
    *case(TypeError, "img2", "torch.uint16", images=(IMAGE.to(torch.uint16), IMAGE.half()), must="img1 / 65535"),
    *case(TypeError, "img2", "torch.bool", images=(IMAGE.double(), IMAGE > 0.5), must="pass img2.float()"),
    *case(TypeError, "img2", "torch.int32", images=(IMAGE, IMAGE.int()), must="range of the other"),
    *case(TypeError, "img2", "torch.int16", images=(IMAGE.byte(), IMAGE.short()), must="range of the other"),
    *case(ValueError, "img2", "meta", images=(IMAGE, IMAGE.to("meta")), must="cpu"),
    *case(ValueError, "img1", "10 × 200", function="ssim", images=(IMAGE[..., :10, :],) * 2, must="at least 11"),
    *case(ValueError, "img1", "200 × 100", function="msssim", images=(SMALL, SMALL), must="at least 176"),
    *case(ValueError, "img1", "200 × 100", function="msssim", images=(SMALL, SMALL), must='small="fewer" to use the 4'),
    *case(
        ValueError, "img1", "200 × 100", function="msssim",
        images=(SMALL,) * 2, must="101", win_size=101, small="fewer"
    ),
    *case(ValueError, "data_range", "None", images=(IMAGE.int(),) * 2, must="given for images of torch.int32"),
]  # fmt: skip

OPTIONS = [
    *case(ValueError, "data_range", "0", data_range=0, must="positive number"),
    *case(ValueError, "data_range", "-1.0", data_range=-1.0, must="positive number"),
    *case(ValueError, "data_range", "nan", data_range=float("nan"), must="positive number"),
    *case(ValueError, "data_range", "inf", data_range=float("inf"), must="positive number"),
    *case(ValueError, "data_range", "1e+300", data_range=1e300, must="1e"),
    *case(ValueError, "data_range", "True", data_range=True, must="positive number"),
    *case(ValueError, "data_range", "0.0", data_range=np.float32(0), must="positive number"),
    *case(ValueError, "data_range", "'255'", data_range="255", must="positive number"),
    *case(ValueError, "data_range", "True", data_range=torch.tensor(True), must="positive number"),
    *case(ValueError, "data_range", "torch.Tensor of shape (2,)", data_range=torch.ones(2), must="one number"),
    *case(ValueError, "data_range", "numpy.ndarray of shape (3,)", data_range=np.ones(3), must="one number"),
    *case(ValueError, "data_range", "(0, 255)", data_range=(0, 255), must="pass its width, 255"),
    *case(ValueError, "data_range", "[-1.0, 1.0]", data_range=[-1.0, 1.0], must="pass its width, 2"),
    *case(ValueError, "sigma", "(0, 1)", sigma=(0, 1), must="positive number"),
    *case(ValueError, "win_size", "(7, 7, 7)", win_size=torch.tensor([7, 7, 7]), must="one for each spatial axis"),
    *case(ValueError, "win_size", "11.0", win_size=torch.tensor(11.0), must="odd integer >= 3"),
    *case(ValueError, "win_size", "4", win_size=np.array(4), must="odd integer >= 3"),
    *case(ValueError, "K1", "numpy.ndarray of shape (0,)", K1=np.ones(0), must="one number"),
    *case(ValueError, "win_size", "10", win_size=10, must="odd"),
    *case(ValueError, "win_size", "1", win_size=1, must="odd integer >= 3"),
    *case(ValueError, "win_size", "-3", win_size=-3, must="odd integer >= 3"),
    *case(ValueError, "win_size", "11.0", win_size=11.0, must="integer"),
    *case(ValueError, "win_size", "None", win_size=None, must="integer"),
    *case(ValueError, "sigma", "0", sigma=0, must="positive number"),
    *case(ValueError, "sigma", "0.0", sigma=np.float32(0), must="positive number"),
    *case(ValueError, "sigma", "1000", sigma=10**400, must="positive number"),
    *case(ValueError, "sigma", "'1.5'", sigma="1.5", must="positive number"),
    *case(ValueError, "sigma", "1e-300", sigma=1e-300, must="positive number"),
    *case(ValueError, "K1", "-0.01", K1=-0.01, must="0"),
    *case(ValueError, "K2", "None", K2=None, must="0"),
    *case(ValueError, "K2", "1e+300", K2=1e300, must="0"),
    *case(ValueError, "reduction", "'total'", reduction="total", must="'mean', 'none', 'sum'"),
    *case(ValueError, "reduction", "None", reduction=None, must="'mean', 'none'"),
    *case(ValueError, "backend", "'cuda'", backend="cuda", must="'auto', "),
    *case(ValueError, "backend", "['torch']", backend=["torch"], must="'torch'"),
    *case(ValueError, "downsample", "2", function="ssim", downsample=2, must="None, 'auto'"),
    *case(ValueError, "downsample", "True", function="ssim", downsample=True, must="None, 'auto'"),
    *case(ValueError, "small", "None", function="msssim", small=None, must="'raise', 'fewer'"),
    *case(ValueError, "method", "'sum'", function="msssim", method="sum", must="'product', 'wtd_sum'"),
    *[
        param
        for value in ("softmax", 1, 0, 1.0, [], ["relu"], {}, np.ones(2), torch.ones(2))
        for param in case(
            ValueError, "normalize", repr(value), function="msssim", normalize=value, must="'relu', 'simple', 'cov"
        )
    ],
    *[
        param
        for value in (
            (), [], "abc", "", None, 3, 1.0, (1.0, 0.0), [1.0, -0.5], (1.0, float("nan")), (1.0, None), [[1.0, 2.0]],
            iter((1.0, 2.0)), {1.0: 2.0}, np.array([0.5, -0.5]), np.array([]), torch.tensor([0.5, -0.5]),
            torch.tensor(0.5), torch.ones(2, 2), (True,),
            [10**400], [1e308, 1e308],
        )
        for param in case(
            ValueError, "weights", repr(value), function="msssim", weights=value, must="number for each scale"
        )
    ],
]  # fmt: skip


def assert_clear(raised, argument, got, must):
    message = str(raised.value)
    start, found = message.split(", got ", 1)
    assert start.startswith((f"{argument} must ", f"img1 and {argument} must ", f"{argument}="))
    assert got in found
    assert must in message
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("error, argument, got, name, images, must, options", IMAGES)
def test_images(error, argument, got, name, images, must, options):
    with pytest.raises(error) as raised:
        getattr(msssim, name)(*images, **options)
    assert_clear(raised, argument, got, must)


# Numbered: the repr of some values has an address, and the workers of pytest-xdist need the same names.
@pytest.mark.parametrize(
    "error, argument, got, name, images, must, options",
    OPTIONS,
    ids=[f"{each.values[1]}-{number}" for number, each in enumerate(OPTIONS)],
)
def test_options(error, argument, got, name, images, must, options):
    with pytest.raises(error) as raised:
        getattr(msssim, name)(*images, **options)
    assert_clear(raised, argument, got, must)
    with pytest.raises(error) as raised:  # a module raises it in the constructor, of a tensor too
        getattr(msssim, name.upper())(**options)
    assert_clear(raised, argument, got, must)


def test_true_is_no_weight_even_after_a_call_with_one():
    msssim.msssim(IMAGE, IMAGE, weights=(1.0,))
    with pytest.raises(ValueError, match=r"^weights must .* got \(True,\)$"):
        msssim.msssim(IMAGE, IMAGE, weights=(True,))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "options",
    [
        dict(data_range=np.float32(1)), dict(data_range=np.uint8(1)), dict(sigma=np.float32(1.5)),
        dict(win_size=np.uint8(11)), dict(win_size=np.int8(11)), dict(K1=np.float16(0.01)), dict(K2=np.float32(0.03)),
        dict(data_range=np.array(1.5)), dict(data_range=torch.tensor(1.5)), dict(data_range=torch.tensor([[2]])),
        dict(win_size=np.array(7)), dict(win_size=torch.tensor(7)), dict(sigma=torch.tensor(1.25)),
        dict(K1=torch.tensor(0.01, dtype=torch.bfloat16)), dict(K2=np.array([0.03])),
    ],
)  # fmt: skip
def test_numbers_in_tensors_and_arrays(options):
    (name, value), target = next(iter(options.items())), 0.1 + IMAGE / 2
    usual = {**options, name: int(value) if name == "win_size" else float(value.item())}
    for index in (msssim.ssim, msssim.msssim):
        assert torch.equal(index(IMAGE, target, **options), index(IMAGE, target, **usual))


def test_weights_that_require_a_gradient_are_refused():
    with pytest.raises(ValueError, match=r"^weights must .* got requires_grad=True$"):
        msssim.msssim(IMAGE, IMAGE, weights=torch.ones(2, requires_grad=True))


@pytest.mark.parametrize("name", ["ssim", "msssim"])
def test_options_are_not_positional(name):
    with pytest.raises(TypeError, match="positional"):
        getattr(msssim, name)(IMAGE, IMAGE, 1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'window_size'"):
        getattr(msssim, name)(IMAGE, IMAGE, window_size=7)


# scikit-image PR#5395: images whose channels are last, compared along the wrong axes. NAFNet#177: data_range as a pair.
@pytest.mark.parametrize("win_size", [5, 7, 11, 31])
@pytest.mark.parametrize("shape, permute", [((64, 70, 3), "(2, 0, 1)"), ((2, 64, 70, 4), "(0, 3, 1, 2)")])
def test_the_error_for_channels_last_has_the_permutation(win_size, shape, permute):
    image = torch.rand(shape)
    for call in (msssim.ssim, msssim.msssim):
        with pytest.raises(ValueError, match=re.escape(f"pass img1.permute{permute}, and img2 likewise")):
            call(image, image, win_size=win_size)


def test_channels_last_with_a_tiny_window_gives_a_warning():
    image = torch.rand(64, 70, 3)
    with pytest.warns(UserWarning, match=re.escape("pass img1.permute(2, 0, 1)")):
        msssim.ssim(image, image, win_size=3)
    narrow = image.permute(2, 0, 1)[..., :3]
    msssim.ssim(narrow, narrow, win_size=3)  # any warning is an error


def test_the_error_for_channels_last_in_one_image():
    first, last = torch.rand(3, 64, 70), torch.rand(64, 70, 3)
    with pytest.raises(ValueError, match=re.escape("pass img2.permute(2, 0, 1)")):
        msssim.ssim(first, last)
    with pytest.raises(ValueError, match=re.escape("pass img1.permute(0, 3, 1, 2)")):
        msssim.ssim(last[None], first[None])


@pytest.mark.parametrize(
    "shape, advice",
    [
        ((64, 70), "torch.from_numpy(a)"), ((3, 64, 70), "torch.from_numpy(a)"),
        ((64, 70, 3), "torch.from_numpy(a).permute(2, 0, 1)"),
        ((2, 64, 70, 3), "torch.from_numpy(a).permute(0, 3, 1, 2)"),
    ],
)  # fmt: skip
def test_the_error_for_a_numpy_array_has_the_conversion(shape, advice):
    array = np.random.default_rng(0).random(shape)
    with pytest.raises(TypeError, match=re.escape(f"pass {advice}") + "$"):
        msssim.ssim(array, array)
    value = msssim.ssim(*[eval(advice, {"torch": torch, "a": array})] * 2)  # evaluates the advice itself
    assert value == 1


@pytest.mark.parametrize(
    "mode, advice",
    [("RGB", "torch.from_numpy(numpy.array(a)).permute(2, 0, 1)"), ("L", "torch.from_numpy(numpy.array(a))")],
)
def test_the_error_for_a_pil_image_has_the_conversion(mode, advice):
    image = pytest.importorskip("PIL.Image").new(mode, (70, 64), 3 if mode == "L" else (1, 2, 3))
    with pytest.raises(TypeError, match=re.escape(f"pass {advice}") + "$"):
        msssim.ssim(image, image)
    assert msssim.ssim(*[eval(advice, {"torch": torch, "numpy": np, "a": image})] * 2) == 1


@pytest.mark.parametrize("win_size, least", [(11, 176), (7, 112)])
def test_the_error_for_small_images_suggests_what_helps(win_size, least):
    crop = torch.rand(1, 3, 100, 104)
    with pytest.raises(
        ValueError, match=rf'at least {least} pixels .* pass small="fewer" to use the 4 scales that fit'
    ):
        msssim.msssim(crop, crop, win_size=win_size)
    tiny = crop[..., :5]
    with pytest.raises(
        ValueError, match=rf"at least {win_size} pixels .*, got 100 × 5; pass a smaller win_size"
    ) as raised:
        msssim.msssim(tiny, tiny, win_size=win_size, small="fewer")
    assert str(least) not in str(raised.value)


@pytest.mark.parametrize("name", ["ssim", "msssim", "SSIM", "MSSSIM", "SSIMLoss", "MSSSIMLoss", "MSSSIML1Loss"])
@pytest.mark.parametrize(
    "keyword, instead",
    [
        ("size_average", 'reduction="none"'), ("window_size", "win_size"), ("betas", "weights"),
        ("val_range", "data_range"), ("max_val", "data_range"), ("channel", "leave it out"),
    ],
)  # fmt: skip
def test_a_keyword_of_another_package_is_answered_with_the_option_of_this_one(name, keyword, instead):
    function, images = getattr(msssim, name), () if name[0].isupper() else (IMAGE, IMAGE)
    message = rf"^{name}\(\) got an unexpected keyword argument '{keyword}'; .*{re.escape(instead)}"
    with pytest.raises(TypeError, match=message):
        function(*images, **{keyword: False})


def test_any_other_unknown_keyword_is_pythons_own_error():
    with pytest.raises(TypeError, match=r"^msssim\(\) got an unexpected keyword argument 'colour'$"):
        msssim.msssim(IMAGE, IMAGE, colour=True)
