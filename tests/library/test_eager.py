"""The shortcuts and caches of plain eager mode change no result and no error."""

import pytest
import torch
from marks import forward_mode
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

import msssim
from msssim import _dispatch, multiscale

WEIGHTS = (0.3, 0.7)


def test_equal_options_of_different_types_are_cached_separately(pair):
    x, y = pair(1, 1, 44, 44)
    assert msssim.msssim(x, y, data_range=1, weights=(1,)) == msssim.msssim(x, y, data_range=1.0, weights=(1.0,))
    for wrong in (dict(data_range=True), dict(weights=(True,)), dict(normalize=1), dict(win_size=11.0)):
        msssim.msssim(x, y, data_range=1, normalize=True, weights=(1,), win_size=11)
        with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} must .* got "):
            msssim.msssim(x, y, **{"weights": (1,), **wrong})


def test_unhashable_options_work_and_errors_are_not_cached():
    calls = []

    @_dispatch.cached_when_eager
    def twice(value):
        calls.append(value)
        if value == 0:
            raise ValueError("zero")
        return value * 2

    assert [twice(2), twice(2), twice(2.0), twice([2]), twice([2])] == [4, 4, 4.0, [2, 2], [2, 2]]
    assert calls == [2, 2.0, [2], [2]]
    for _ in range(2):
        with pytest.raises(ValueError, match="zero"):
            twice(0)


def test_cached_tensors_work_in_later_calls(pair, backend):
    """Tensors made in a mode, in inference mode or in a transform must not reach a later call."""
    shares = (0.25, 0.5, 0.25)  # used in no other test, so not cached yet
    x, y = pair(1, 1, 50, 60)
    call = lambda a, b: msssim.msssim(a, b, weights=shares, normalize="relu", backend=backend)  # noqa: E731
    with FakeTensorMode() as mode:
        assert call(mode.from_tensor(x), mode.from_tensor(y)).shape == ()
    with torch.inference_mode():
        expected = call(x, y).clone()
    torch.func.vmap(call)(x[None], y[None])
    x.requires_grad_()
    value = call(x, y)
    value.backward()
    assert torch.equal(value.detach(), expected) and x.grad.abs().max() > 0


class _Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.names.append(str(function))
        return function(*arguments, **(options or {}))


def test_a_dispatch_mode_sees_the_operator(pair):
    pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")
    x, y = pair(1, 1, 50, 60)
    with _Log() as log:
        msssim.ssim(x, y, backend="numba")
        msssim.ssim(x.requires_grad_(), y, backend="numba").backward()
    assert log.names.count("msssim.pyramid_means.default") == 2
    assert log.names.count("msssim.pyramid_gradient.default") == 1


@forward_mode
def test_backward_raises_for_a_tangent(pair):
    pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")
    x, y = pair(1, 1, 50, 60)
    value = msssim.ssim(x.requires_grad_(), y, backend="numba")
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="forward mode"):
        torch.autograd.grad(value, x, forward_ad.make_dual(torch.ones_like(value), torch.ones_like(value)))


@pytest.mark.filterwarnings(
    "ignore:.torch.jit:DeprecationWarning", "ignore:.torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning"
)
def test_traced_for_any_size(pair, backend):
    index = torch.jit.trace(lambda a, b: msssim.msssim(a, b, weights=WEIGHTS, backend=backend), pair(1, 1, 50, 60))
    x, y = pair(2, 3, 47, 65)
    expected = msssim.msssim(x, y, weights=WEIGHTS, backend=backend)
    torch.testing.assert_close(index(x, y), expected, rtol=0, atol=1e-15)  # a trace combines the terms in PyTorch


def test_an_inference_tensor_can_be_a_target(pair, backend):
    x, y = pair(1, 1, 50, 60)
    expected = torch.func.grad(msssim.ssim)(x, y)
    with torch.inference_mode():
        target = y.clone()
    msssim.ssim(x.requires_grad_(), target, backend=backend).backward()
    torch.testing.assert_close(x.grad, expected)


def test_first_and_second_derivative_of_the_product():
    terms = torch.tensor([[[0.9, 0.5], [0.3, -0.2]]], dtype=torch.float64, requires_grad=True)
    whole = (1.0, 2.0)  # with whole exponents a negative term has a power
    index = lambda t: multiscale.combine(t, whole, None, "product")  # noqa: E731 - read better beside its use
    assert torch.equal(index(terms), terms[..., 0] * terms[..., 1] ** 2)
    assert torch.autograd.gradcheck(index, terms) and torch.autograd.gradgradcheck(index, terms)


def test_the_product_near_zero():
    terms = torch.tensor([[[0.0, 0.5], [1e-300, 0.5], [0.5, -0.5]]], dtype=torch.float64, requires_grad=True)
    value = multiscale.combine(terms, WEIGHTS, None, "product")
    (slope,) = torch.autograd.grad(value.sum(), terms, create_graph=True)
    assert value[0, 0] == 0 and (slope[0, 0] == 0).all() and value[0, 2].isnan()
    assert slope[0, 1].isfinite().all() and (slope[0, 1] > 0).all()
    (curvature,) = torch.autograd.grad(slope[0, :2].sum(), terms)
    assert curvature[0, :2].isfinite().all()
    along = torch.func.jvp(lambda t: multiscale.combine(t, WEIGHTS, None, "product"), (terms,), (terms + 1,))[1]
    torch.testing.assert_close(along[0, :2], (slope * (terms + 1)).sum(-1)[0, :2])


def test_the_default_device_is_ignored(pair, backend):
    x, y = pair(1, 1, 50, 60)
    results = []
    for place in ("cpu", "meta"):  # which has no memory
        image = x.clone().requires_grad_()
        with torch.device(place):
            value = msssim.msssim(image, y, weights=(0.35, 0.65), backend=backend)
            results.append((value.detach(), *torch.autograd.grad(value, image)))
    for there, elsewhere in zip(*results, strict=True):
        assert torch.equal(there, elsewhere)
