"""Names, signatures, conventions: what programs that use the package rely on."""

import copy
import inspect
import pathlib
import pickle
import subprocess
import sys
import textwrap

import pytest
import torch
from marks import compiling

import msssim

OPTIONS = {
    "ssim": dict(
        data_range=None, win_size=11, sigma=None, K1=0.01, K2=0.03, window="gaussian", sample_covariance=False,
        padding="valid", mask=None, mask_mode="normalized", downsample=None, spatial_dims=2, full=False,
        reduction="mean", backend="auto",
    ),
    "msssim": dict(
        data_range=None, normalize=None, weights=msssim.WEIGHTS, method="product", channels="mean", win_size=11,
        sigma=1.5, K1=0.01, K2=0.03, mask=None, scales=False, full=False, small="raise", spatial_dims=2,
        reduction="mean", backend="auto",
    ),
}  # fmt: skip
OF_A_CALL = ("mask",)  # a module takes it in forward()


def options_of(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_keyword_only_with_fixed_names_and_defaults(name):
    function, module = getattr(msssim, name), getattr(msssim, name.upper())
    positional = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert positional == ["img1", "img2"]
    assert list(options_of(function).items()) == list(OPTIONS[name].items())
    of_module = {option: default for option, default in OPTIONS[name].items() if option not in OF_A_CALL}
    assert inspect.signature(module).parameters.keys() == of_module.keys() | {"unknown"}
    assert list(options_of(module).items()) == list(of_module.items()) and module()._names == tuple(of_module)
    assert options_of(module.forward) == dict(mask=None, data_range=None)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_documented(name):
    documentation = inspect.getdoc(getattr(msssim, name))
    for section in ("Parameters", "Returns", "Raises", "Examples", "References"):
        assert f"{section}\n{'-' * len(section)}\n" in documentation
    lines = documentation.splitlines()
    for option in OPTIONS[name]:
        assert any(line.split(" : ")[0].split(", ").count(option) for line in lines if " : " in line), option


def test_public_names():
    assert set(msssim.__all__) == {
        "ssim", "msssim", "SSIM", "MSSSIM", "WEIGHTS", "available_backends", "warm_up", "luma", "presets", "stream",
        "ssim_loss", "msssim_loss", "msssim_l1_loss", "SSIMLoss", "MSSSIMLoss", "MSSSIML1Loss",
    }  # fmt: skip
    assert all(inspect.getdoc(getattr(msssim, name)) for name in msssim.__all__)
    assert msssim.WEIGHTS == (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    assert (pathlib.Path(msssim.__file__).parent / "py.typed").exists()


def test_plain_pytorch_is_always_available():
    assert isinstance(msssim.available_backends(), tuple)
    assert "torch" in msssim.available_backends()


def test_example_of_the_original_readme():
    example = """
        import msssim as pytorch_msssim
        import torch

        m = pytorch_msssim.MSSSIM()

        img1 = torch.rand(1, 1, 256, 256)
        img2 = torch.rand(1, 1, 256, 256)

        print(pytorch_msssim.msssim(img1, img2))
        print(m(img1, img2))
    """
    root = pathlib.Path(msssim.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(example)], capture_output=True, text=True, cwd=root, check=True
    )
    first, second = done.stdout.splitlines()
    assert first == second and first.startswith("tensor(")


@pytest.mark.parametrize(
    "name, options",
    [
        ("ssim", {}),
        ("ssim", dict(reduction="none", win_size=7, sigma=1.0, data_range=2.0)),
        ("ssim", dict(full=True, K1=0.02, K2=0.05)),
        ("ssim", dict(downsample="auto")),
        ("ssim", dict(window="uniform", win_size=7, sample_covariance=True, padding="reflect")),
        ("msssim", dict(channels="pooled", full=True, scales=True)),
        ("msssim", {}),
        ("msssim", dict(normalize=True, reduction="none")),
        ("msssim", dict(normalize="relu", method="wtd_sum", scales=True)),
        ("msssim", dict(normalize="covariance", weights=[0.5, 0.5], win_size=5)),
        ("msssim", dict(small="fewer", win_size=31, data_range=2.0)),
    ],
)
def test_module_equals_the_function(name, options, pair):
    x, y = pair(2, 2, 180, 177, dtype=torch.float32)
    of_function = getattr(msssim, name)(x, y, **options)
    of_module = getattr(msssim, name.upper())(**options)(x, y)
    torch.testing.assert_close(of_module, of_function, rtol=0, atol=0)


@pytest.mark.parametrize(
    "module", [msssim.SSIM(full=True, K1=0.0), msssim.MSSSIM(normalize="covariance", weights=(0.25, 0.75))]
)
def test_module_is_stateless_and_can_be_copied_pickled_and_printed(module, pair):
    x, y = pair(1, 1, 44, 45)
    assert not module.state_dict() and not list(module.parameters()) and not list(module.buffers())
    module.load_state_dict({})
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), copy.copy(module).half().eval()):
        torch.testing.assert_close(twin(x, y), module(x, y), rtol=0, atol=0)
        assert repr(twin) == repr(module)
    for option, value in module.options.items():
        assert f"{option}={value!r}" in repr(module)
    assert repr(module).startswith(type(module).__name__ + "(")


@pytest.mark.parametrize(
    "name, value, same_as",
    [
        ("normalize", "relu", {}), ("weights", [0.5, 0.5], {}), ("method", "wtd_sum", {}), ("win_size", 5, {}),
        ("data_range", torch.tensor(2.0), dict(data_range=2.0)), ("K1", 0.1, {}), ("K2", 0.1, {}), ("sigma", 0.7, {}),
        ("scales", True, {}), ("reduction", "none", {}), ("backend", "torch", {}), ("small", "fewer", {}),
    ],
)  # fmt: skip
def test_an_option_of_a_module_can_be_changed(pair, name, value, same_as):
    x, y = pair(2, 1, 180, 177, noise=1.0)
    module = msssim.MSSSIM(normalize="covariance")
    before = module(x, y)
    setattr(module, name, value)
    expected = msssim.msssim(x, y, **{"normalize": "covariance", name: value, **same_as})
    torch.testing.assert_close(module(x, y), expected, rtol=0, atol=0)
    assert name in ("backend", "small") or not torch.is_tensor(expected) or not torch.equal(expected, before)
    assert f"{name}={getattr(module, name)!r}" in repr(module)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(twin(x, y), expected, rtol=0, atol=0)
    assert not module.state_dict() and not torch.is_tensor(getattr(module, name))


@pytest.mark.parametrize(
    "name, value",
    [("normalize", "reluu"), ("win_size", 4), ("weights", ()), ("data_range", 0), ("backend", "gpu"), ("method", None)],
)
def test_a_changed_option_is_checked_as_by_the_constructor(name, value):
    module = msssim.MSSSIM()
    old = getattr(module, name)
    with pytest.raises(ValueError) as by_constructor:
        msssim.MSSSIM(**{name: value})
    with pytest.raises(ValueError) as by_attribute:
        setattr(module, name, value)
    assert str(by_attribute.value) == str(by_constructor.value) and getattr(module, name) == old


@compiling
@pytest.mark.full
def test_a_compiled_module_follows_its_options(pair):
    torch._dynamo.reset()
    x, y = pair(1, 1, 44, 45, noise=1.0)
    module = msssim.MSSSIM(weights=(0.4, 0.6), normalize="covariance", backend="torch")
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for name, value in (("normalize", "simple"), ("data_range", 2.0), ("win_size", 5)):
        torch.testing.assert_close(compiled(x, y), module(x, y))
        setattr(module, name, value)
    torch.testing.assert_close(compiled(x, y), module(x, y))


def test_module_in_a_sequence_leaves_the_state_of_a_model_alone():
    model = torch.nn.ModuleDict({"net": torch.nn.Linear(2, 2), "criterion": msssim.MSSSIM(normalize="simple")})
    assert set(model.state_dict()) == {"net.weight", "net.bias"}


@pytest.mark.parametrize("shape", [(3, 2, 44, 47), (2, 44, 47), (44, 47)])
def test_shapes_of_results(shape, pair, backend):
    x, y = pair(*shape)
    images = shape[:-3] if len(shape) == 4 else ()
    two = dict(weights=(0.5, 0.5), backend=backend)
    assert msssim.ssim(x, y, backend=backend).shape == ()
    assert msssim.ssim(x, y, reduction="none", backend=backend).shape == images
    assert msssim.msssim(x, y, **two).shape == ()
    assert msssim.msssim(x, y, reduction="none", **two).shape == images
    value, terms = msssim.msssim(x, y, scales=True, **two)
    assert value.shape == () and terms.shape == (*shape[:-2], 2)


def test_shape_of_the_map(pair):
    for shape in ((3, 2, 44, 47), (2, 44, 47), (44, 47)):
        x, y = pair(*shape)
        value, map = msssim.ssim(x, y, full=True, reduction="none")
        assert map.shape == (*shape[:-2], 34, 37)
        torch.testing.assert_close(map.mean((-2, -1)).reshape(*value.shape, -1).mean(-1), value, rtol=0, atol=1e-13)
