"""The fused backends as operators of PyTorch: schema, shapes, derivatives of every order, compilation, transforms."""

import pytest
import torch
from marks import compiling, full

import msssim
from msssim import backends, window

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")


def _index(backend, **options):
    options = dict(backend=backend, normalize="covariance", weights=(0.3, 0.3, 0.4)) | options
    return lambda x, y, **more: msssim.msssim(x, y, **options, **more)


fused, plain = _index("numba"), _index("torch")


def _options(levels=2):
    c1, c2 = window.constants(0.01, 0.03, 1.0)
    return window.gaussian_taps(11, 1.5), c1, c2, 1.0, levels, False


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # which opcheck() of PyTorch 2.14 reads
@pytest.mark.parametrize("needs", [(False, False), (True, False), (True, True)])
def test_opcheck_of_the_means(pair, needs):
    images = [image.requires_grad_(need) for image, need in zip(pair(2, 1, 23, 26), needs, strict=True)]
    torch.library.opcheck(torch.ops.msssim.pyramid_means.default, (*images, *_options(), *needs))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # which opcheck() of PyTorch 2.14 reads
@pytest.mark.full
def test_opcheck_of_the_gradient(pair):
    x, y = pair(1, 1, 12, 13)  # small, as it computes both derivatives numerically
    means, kept, *_ = torch.ops.msssim.pyramid_means(x, y, *_options(1), True, False)
    upstream = torch.rand_like(means).requires_grad_()
    arguments = (upstream, kept, x.requires_grad_(), y, *_options(1), 0)
    torch.library.opcheck(torch.ops.msssim.pyramid_gradient.default, arguments)


@pytest.mark.parametrize("dynamic", [False, True])
@compiling
def test_torch_compile_without_a_graph_break(pair, dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(fused, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for width in (60, 65):
        x, y = pair(2, 3, 50, width, dtype=torch.float32)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        value, expected = compiled(a, y), fused(b, y)
        value.backward()
        expected.backward()
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.since_torch(2, 12)  # earlier versions of torch.compile trace no autograd function below a transform
@pytest.mark.parametrize("transform", [torch.func.grad, *full(torch.func.jacrev, torch.func.vmap)])
@compiling
@pytest.mark.full
def test_torch_compile_of_a_transform(pair, transform):
    torch._dynamo.reset()
    x, y = pair(2, 3, 50, 49, dtype=torch.float32)
    compiled = torch.compile(lambda x, y: transform(fused)(x, y), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, y), transform(fused)(x, y), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("transform", [lambda index: index, *full(torch.func.vmap)])
@compiling
def test_compiling_first_does_not_mark_the_backend_as_broken(pair, transform, caplog):
    torch._dynamo.reset()
    backends._probe_backend.cache_clear()
    x, y = pair(2, 3, 50, 49, dtype=torch.float32)
    auto = _index("auto")
    compiled = torch.compile(lambda x, y: transform(auto)(x, y), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, y), transform(fused)(x, y), rtol=1e-4, atol=1e-8)
    assert backends.choose("auto", x, 11) is backends.ops
    assert not [record for record in caplog.records if record.name.startswith("msssim")]


def test_autocast_changes_nothing(pair):
    x, y = pair(1, 3, 64, 64, dtype=torch.float32)
    expected = fused(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fused(x, y), expected)


def test_func_grad_and_vmap(pair):
    x, y = pair(2, 1, 50, 60)
    batch = torch.stack([x, 0.5 * x, x.square()])
    torch.testing.assert_close(torch.func.grad(fused)(x, y), torch.func.grad(plain)(x, y))
    for transform in (
        lambda f: torch.func.vmap(f, (0, None))(batch, y),
        lambda f: torch.func.vmap(torch.func.grad(f), (0, None))(batch, y),
        lambda f: torch.func.grad(lambda z: torch.func.vmap(f, (0, None))(z, y).sum())(batch),
        lambda f: torch.func.grad(lambda z: torch.func.grad(f)(z, y).square().sum())(x),
    ):
        torch.testing.assert_close(transform(fused), transform(plain), rtol=1e-9, atol=1e-14)


def test_a_gradient_penalty_is_right(pair):
    results = []
    for index in (fused, plain):
        x, y = (image.requires_grad_() for image in pair(1, 1, 50, 60))
        gradients = torch.autograd.grad(index(x, y), (x, y), create_graph=True)
        penalty = sum(gradient.square().sum() for gradient in gradients)
        results.append((penalty.detach(), *torch.autograd.grad(penalty, (x, y))))
    for ours, expected in zip(*results, strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-16)


@pytest.mark.full
def test_gradcheck_of_both_orders(pair):
    x, y = (image.requires_grad_() for image in pair(1, 1, 13, 14))
    index = lambda x, y: msssim.ssim(x, y, backend="numba")  # noqa: E731 - read better beside its use
    assert torch.autograd.gradcheck(index, (x, y))
    assert torch.autograd.gradgradcheck(index, (x, y))


def test_the_third_derivative_equals_plain_pytorch(pair):
    results = []
    for backend in ("numba", "torch"):
        x, y = pair(1, 1, 13, 14)
        x.requires_grad_()
        value = msssim.ssim(x, y, backend=backend)
        for _ in range(3):
            (gradient,) = torch.autograd.grad(value, x, create_graph=True)
            value = gradient.square().sum()
        results.append(gradient.detach())
    torch.testing.assert_close(*results, rtol=1e-8, atol=1e-14)


def test_retain_graph_and_two_backward_calls(pair):
    x, y = pair(1, 1, 50, 60)
    x.requires_grad_()
    value = fused(x, y)
    value.backward(retain_graph=True)
    once = x.grad.clone()
    value.backward()
    assert torch.equal(x.grad, 2 * once)


def test_a_gradient_that_the_call_did_not_announce(pair):
    x, y = pair(1, 1, 23, 26)
    x.requires_grad_()
    means, kept, *_ = torch.ops.msssim.pyramid_means(x, y, *_options(), False, False)
    assert kept.numel() == 0
    (late,) = torch.autograd.grad(means.sum(), x)
    means, *_ = torch.ops.msssim.pyramid_means(x, y, *_options(), True, False)
    assert torch.equal(late, torch.autograd.grad(means.sum(), x)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_gradient_beyond_the_dtype_is_clamped(pair, dtype):
    x, y = pair(1, 1, 50, 60, dtype=dtype)
    x.requires_grad_()
    fused(x, y).mul(torch.finfo(torch.float32).max).backward()
    assert x.grad.isfinite().all()


def test_a_gradient_penalty_where_one_image_depends_on_the_other(pair):
    results = []
    for index in (fused, plain):
        x, _ = pair(1, 1, 50, 60)
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(index(x, x.square()), x, create_graph=True)
        results.append((gradient.detach(), *torch.autograd.grad(gradient.square().sum(), x)))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-16)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (2.0, -1.0)], ids=str)
@pytest.mark.parametrize("create_graph", [False, True])
def test_upstream_gradients_of_the_value_the_terms_and_both(pair, weights, create_graph):
    results = []
    for index in (fused, plain):
        x, y = (image.requires_grad_() for image in pair(2, 1, 50, 60))
        value, terms = index(x, y, scales=True, reduction="none")
        parts = [part.sum() * weight for part, weight in zip((value, terms), weights, strict=True) if weight]
        results.append(torch.autograd.grad(sum(parts), (x, y), create_graph=create_graph))
    for ours, expected in zip(*results, strict=True):
        assert ours.requires_grad == create_graph
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-16)


@pytest.mark.parametrize("create_graph", [False, True])
def test_batched_upstream_gradients(pair, create_graph):
    directions = torch.tensor([[1.0, 0.0], [0.5, -2.0], [0.0, 1.0]], dtype=torch.float64)
    results = []
    for index in (fused, plain):
        x, y = pair(2, 1, 50, 60)
        x.requires_grad_()
        value = index(x, y, reduction="none")
        results += torch.autograd.grad(value, x, directions, is_grads_batched=True, create_graph=create_graph)
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-16)
