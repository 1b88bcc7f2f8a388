"""The calls of the library that are measured, each under the name it has in the report."""

import numpy as np
import torch
from torch.autograd.gradcheck import GradcheckError

import msssim

REFUSED = "refused"  # of a measurement: the backend does not cover the call
SSIM, SSIM_REDUCED = "SSIM", "SSIM, f × f rule"
PRODUCT, WTD_SUM, RELU, SIMPLE = "MS-SSIM", "MS-SSIM, wtd_sum", "MS-SSIM, relu", "MS-SSIM, simple"
COVARIANCE = "MS-SSIM, covariance"
TERMS = "means of cs and l cs at every scale"


def _terms(x, y, **options):
    """Mean cs of scales 1 to 4, then mean l·cs of scales 1 to 5: a pyramid of k scales ends in l·cs of scale k."""
    by_length = [msssim.msssim(x, y, weights=(1.0,) * k, scales=True, **options)[1] for k in range(1, 6)]
    return torch.cat([by_length[-1][..., :4], *(terms[..., -1:] for terms in by_length)], -1)


QUANTITIES = {
    SSIM: msssim.ssim,
    SSIM_REDUCED: lambda x, y, **options: msssim.ssim(x, y, downsample="auto", **options),
    PRODUCT: lambda x, y, **options: msssim.msssim(x, y, **options),
    WTD_SUM: lambda x, y, **options: msssim.msssim(x, y, method="wtd_sum", **options),
    RELU: lambda x, y, **options: msssim.msssim(x, y, normalize="relu", **options),
    SIMPLE: lambda x, y, **options: msssim.msssim(x, y, normalize="simple", **options),
    COVARIANCE: lambda x, y, **options: msssim.msssim(x, y, normalize="covariance", **options),
    TERMS: _terms,
}


def tensors(pair, dtype, device):
    """The two images of a pair as tensors (H, W) or (C, H, W)."""
    return tuple(tensor(image, dtype, device) for image in (pair.reference, pair.distorted))


def tensor(image, dtype, device):
    """A NumPy image (H, W) or (H, W, C) as a tensor of the dtype with that name, channels first."""
    planes = np.moveaxis(image, -1, 0) if image.ndim == 3 else image
    return torch.from_numpy(np.ascontiguousarray(planes)).to(device, getattr(torch, dtype))


def value(quantity, x, y, *, data_range, backend):
    """What the library says, on the CPU."""
    return QUANTITIES[quantity](x, y, data_range=data_range, backend=backend).detach().cpu()


def gradients(quantity, x, y, *, data_range, backend, upstream=1.0):
    """(value, gradient to x, gradient to y), on the CPU in their own dtypes."""
    x, y = x.detach().clone().requires_grad_(), y.detach().clone().requires_grad_()
    result = QUANTITIES[quantity](x, y, data_range=data_range, backend=backend)
    result.backward(torch.full_like(result, upstream))
    return result.detach().cpu(), x.grad.cpu(), y.grad.cpu()


def relative_error(gradient, exact):
    """The largest difference, over the largest entry of the exact gradient."""
    return float((gradient.double() - exact).abs().max() / exact.abs().max())


def attempt(backend, function, /, *args, **kwargs):
    """(what the function returns, {}) or (None, the fields that say that this backend refuses).

    An explicitly asked backend that cannot do something says so, naming the argument `backend`. Plain PyTorch covers
    everything, so that from it any error is one.
    """
    try:
        return function(*args, **kwargs), {}
    except GradcheckError:
        raise
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        if backend == "torch" or "backend" not in str(error):
            raise
        return None, {"missing": REFUSED, "note": str(error).splitlines()[0]}
