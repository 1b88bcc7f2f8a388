"""Bad input gets one clear error: it names the argument, says what came and what is wanted."""

import numpy as np
import pytest
import torch

import msssim

IMAGE = torch.rand(1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
SMALL = IMAGE[..., :100]


def case(error, argument, came, *, function=("ssim", "msssim"), images=(IMAGE, IMAGE), wanted="", **options):
    names = (function,) if isinstance(function, str) else function
    return [pytest.param(error, argument, came, name, images, wanted, options) for name in names]


IMAGES = [
    *case(TypeError, "img1", "numpy.ndarray", images=(np.zeros((64, 64)), IMAGE), wanted="torch.Tensor"),
    *case(TypeError, "img2", "builtins.NoneType", images=(IMAGE, None), wanted="torch.Tensor"),
    *case(TypeError, "img1", "torch.complex64", images=(IMAGE * 1j, IMAGE * 1j), wanted="real"),
    *case(TypeError, "img2", "torch.complex64", images=(IMAGE, IMAGE * 1j), wanted="real"),
    *case(TypeError, "img1", "sparse_coo", images=(IMAGE[0, 0].to_sparse(), IMAGE), wanted="dense"),
    *case(TypeError, "img2", "mkldnn", images=(IMAGE, IMAGE.to_mkldnn()), wanted="dense"),
    *case(ValueError, "img2", "(1, 1, 200, 100)", images=(IMAGE, SMALL), wanted="(1, 1, 200, 200)"),
    *case(ValueError, "img2", "(200, 200)", images=(IMAGE, IMAGE[0, 0]), wanted="(1, 1, 200, 200)"),
    *case(ValueError, "img1", "(200,)", images=(IMAGE[0, 0, 0], IMAGE[0, 0, 0]), wanted="(N, C, H, W)"),
    *case(ValueError, "img1", "(1, 1, 1, 200, 200)", images=(IMAGE[None], IMAGE[None]), wanted="(N, C, H, W)"),
    *case(ValueError, "img1", "(0, 1, 200, 200)", images=(IMAGE[:0], IMAGE[:0]), wanted="at least one pixel"),
    *case(TypeError, "img2", "torch.float64", images=(IMAGE, IMAGE.double()), wanted="torch.float32"),
    *case(ValueError, "img2", "meta", images=(IMAGE, IMAGE.to("meta")), wanted="cpu"),
    *case(ValueError, "img1", "10 × 200", function="ssim", images=(IMAGE[..., :10, :],) * 2, wanted="at least 11"),
    *case(ValueError, "img1", "200 × 100", function="msssim", images=(SMALL, SMALL), wanted="at least 176"),
    *case(ValueError, "img1", "200 × 100", function="msssim", images=(SMALL, SMALL), wanted='small="fewer" uses the 4'),
    *case(
        ValueError, "img1", "200 × 100", function="msssim",
        images=(SMALL,) * 2, wanted="101", win_size=101, small="fewer"
    ),
    *case(ValueError, "img1", "200 × 3", images=(IMAGE[..., :3],) * 2, wanted="permute()"),
    *case(ValueError, "data_range", "torch.int32", images=(IMAGE.int(),) * 2, wanted="needed"),
]  # fmt: skip

OPTIONS = [
    *case(ValueError, "data_range", "0", data_range=0, wanted="positive number"),
    *case(ValueError, "data_range", "-1.0", data_range=-1.0, wanted="positive number"),
    *case(ValueError, "data_range", "nan", data_range=float("nan"), wanted="positive number"),
    *case(ValueError, "data_range", "inf", data_range=float("inf"), wanted="positive number"),
    *case(ValueError, "data_range", "1e+300", data_range=1e300, wanted="1e"),
    *case(ValueError, "data_range", "True", data_range=True, wanted="positive number"),
    *case(ValueError, "data_range", "0.0", data_range=np.float32(0), wanted="positive number"),
    *case(ValueError, "data_range", "'255'", data_range="255", wanted="positive number"),
    *case(ValueError, "data_range", "tensor(255.)", data_range=torch.tensor(255.0), wanted="positive number"),
    *case(ValueError, "win_size", "10", win_size=10, wanted="odd"),
    *case(ValueError, "win_size", "1", win_size=1, wanted="at least 3"),
    *case(ValueError, "win_size", "-3", win_size=-3, wanted="at least 3"),
    *case(ValueError, "win_size", "11.0", win_size=11.0, wanted="integer"),
    *case(ValueError, "win_size", "None", win_size=None, wanted="integer"),
    *case(ValueError, "sigma", "0", sigma=0, wanted="positive number"),
    *case(ValueError, "sigma", "0.0", sigma=np.float32(0), wanted="positive number"),
    *case(ValueError, "sigma", "1000", sigma=10**400, wanted="positive number"),
    *case(ValueError, "sigma", "'1.5'", sigma="1.5", wanted="positive number"),
    *case(ValueError, "sigma", "1e-300", sigma=1e-300, wanted="positive number"),
    *case(ValueError, "K1", "-0.01", K1=-0.01, wanted="0"),
    *case(ValueError, "K2", "None", K2=None, wanted="0"),
    *case(ValueError, "K2", "1e+300", K2=1e300, wanted="0"),
    *case(ValueError, "reduction", "'sum'", reduction="sum", wanted="'mean', 'none'"),
    *case(ValueError, "reduction", "None", reduction=None, wanted="'mean', 'none'"),
    *case(ValueError, "backend", "'cuda'", backend="cuda", wanted="'auto', "),
    *case(ValueError, "backend", "['torch']", backend=["torch"], wanted="'torch'"),
    *case(ValueError, "downsample", "2", function="ssim", downsample=2, wanted="None, 'auto'"),
    *case(ValueError, "downsample", "True", function="ssim", downsample=True, wanted="None, 'auto'"),
    *case(ValueError, "small", "None", function="msssim", small=None, wanted="'raise', 'fewer'"),
    *case(ValueError, "method", "'sum'", function="msssim", method="sum", wanted="'product', 'wtd_sum'"),
    *[
        param
        for value in ("softmax", 1, 0, 1.0, [], ["relu"], {}, np.ones(2), torch.ones(2))
        for param in case(
            ValueError, "normalize", repr(value), function="msssim", normalize=value, wanted="'relu', 'simple', 'cov"
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
            ValueError, "weights", repr(value), function="msssim", weights=value, wanted="number for each scale"
        )
    ],
]  # fmt: skip


def assert_clear(raised, argument, came, wanted):
    message = str(raised.value)
    assert message.startswith(f"{argument}: ")
    assert came in message
    assert wanted in message
    assert "came" in message and ("wanted" in message or "needed" in message)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("error, argument, came, name, images, wanted, options", IMAGES)
def test_images(error, argument, came, name, images, wanted, options):
    with pytest.raises(error) as raised:
        getattr(msssim, name)(*images, **options)
    assert_clear(raised, argument, came, wanted)


# Numbered, for workers that share the tests must call them the same, and some values show their address.
@pytest.mark.parametrize(
    "error, argument, came, name, images, wanted, options",
    OPTIONS,
    ids=[f"{each.values[1]}-{number}" for number, each in enumerate(OPTIONS)],
)
def test_options(error, argument, came, name, images, wanted, options):
    with pytest.raises(error) as raised:
        getattr(msssim, name)(*images, **options)
    assert_clear(raised, argument, came, wanted)
    with pytest.raises(error) as raised:  # a module says so when it is made, not when it is first used
        getattr(msssim, name.upper())(**options)
    assert_clear(raised, argument, came, wanted)


def test_a_weight_that_only_equals_one_is_refused_after_that_one():
    msssim.msssim(IMAGE, IMAGE, weights=(1.0,))
    with pytest.raises(ValueError, match=r"^weights: .* \(True,\) came"):
        msssim.msssim(IMAGE, IMAGE, weights=(True,))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "options",
    [
        dict(data_range=np.float32(1)), dict(data_range=np.uint8(1)), dict(sigma=np.float32(1.5)),
        dict(win_size=np.uint8(11)), dict(win_size=np.int8(11)), dict(K1=np.float16(0.01)), dict(K2=np.float32(0.03)),
    ],
)  # fmt: skip
def test_numbers_of_numpy_are_what_they_say(options):
    (name, value), target = next(iter(options.items())), 0.1 + IMAGE / 2
    usual = {**options, name: int(value) if name == "win_size" else float(value)}
    for index in (msssim.ssim, msssim.msssim):
        assert torch.equal(index(IMAGE, target, **options), index(IMAGE, target, **usual))


def test_weights_that_ask_for_a_gradient_are_refused():
    with pytest.raises(ValueError, match=r"^weights: .*requires_grad.* came"):
        msssim.msssim(IMAGE, IMAGE, weights=torch.ones(2, requires_grad=True))


@pytest.mark.parametrize("name", ["ssim", "msssim"])
def test_options_are_not_positional(name):
    with pytest.raises(TypeError, match="positional"):
        getattr(msssim, name)(IMAGE, IMAGE, 1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'window_size'"):
        getattr(msssim, name)(IMAGE, IMAGE, window_size=7)
