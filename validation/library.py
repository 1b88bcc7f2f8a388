"""The calls of the library that are measured, by their names in the report."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd.gradcheck import GradcheckError

import datasets
import msssim

REFUSED = "refused"  # the backend does not support the call
SSIM, SSIM_REDUCED = "SSIM", "SSIM, f × f rule"
PRODUCT, WTD_SUM, RELU, SIMPLE = "MS-SSIM", "MS-SSIM, wtd_sum", "MS-SSIM, relu", "MS-SSIM, simple"
COVARIANCE = "MS-SSIM, covariance"
TERMS = "means of cs and l cs at every scale"


def _terms(x: torch.Tensor, y: torch.Tensor, **options: Any) -> torch.Tensor:
    """Return mean cs of scales 1 to 4, then mean l·cs of scales 1 to 5."""
    # A pyramid of k scales ends with l·cs of scale k.
    by_length = [msssim.msssim(x, y, weights=(1.0,) * k, scales=True, **options)[1] for k in range(1, 6)]
    return torch.cat([by_length[-1][..., :4], *(terms[..., -1:] for terms in by_length)], -1)


QUANTITIES: dict[str, Callable[..., torch.Tensor]] = {
    SSIM: msssim.ssim,
    SSIM_REDUCED: lambda x, y, **options: msssim.ssim(x, y, downsample="auto", **options),
    PRODUCT: lambda x, y, **options: msssim.msssim(x, y, **options),
    WTD_SUM: lambda x, y, **options: msssim.msssim(x, y, method="wtd_sum", **options),
    RELU: lambda x, y, **options: msssim.msssim(x, y, normalize="relu", **options),
    SIMPLE: lambda x, y, **options: msssim.msssim(x, y, normalize="simple", **options),
    COVARIANCE: lambda x, y, **options: msssim.msssim(x, y, normalize="covariance", **options),
    TERMS: _terms,
}


def planes(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W) or (H, W, C) as planes (C, H, W)."""
    return np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]


def tensors(pair: datasets.Pair, dtype: str, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images of a pair as tensors (H, W) or (C, H, W)."""
    return tensor(pair.reference, dtype, device), tensor(pair.distorted, dtype, device)


def tensor(image: np.ndarray, dtype: str, device: str) -> torch.Tensor:
    """Return an image (H, W) or (H, W, C) as a tensor of that dtype, channels first."""
    channels_first = np.moveaxis(image, -1, 0) if image.ndim == 3 else image
    return torch.from_numpy(np.ascontiguousarray(channels_first)).to(device, getattr(torch, dtype))


def value(quantity: str, x: torch.Tensor, y: torch.Tensor, *, data_range: float, backend: str) -> torch.Tensor:
    """Return the value of the library, on the CPU."""
    return QUANTITIES[quantity](x, y, data_range=data_range, backend=backend).detach().cpu()


def gradients(
    quantity: str, x: torch.Tensor, y: torch.Tensor, *, data_range: float, backend: str, upstream: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (value, gradient of x, gradient of y), on the CPU."""
    x, y = x.detach().clone().requires_grad_(), y.detach().clone().requires_grad_()
    result = QUANTITIES[quantity](x, y, data_range=data_range, backend=backend)
    result.backward(torch.full_like(result, upstream))
    assert x.grad is not None and y.grad is not None
    return result.detach().cpu(), x.grad.cpu(), y.grad.cpu()


def relative_error(gradient: torch.Tensor, exact: torch.Tensor) -> float:
    """Return the largest difference divided by the largest entry of the exact gradient."""
    return float((gradient.double() - exact).abs().max() / exact.abs().max())


def attempt(backend: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """Call a function; return (result, {}), or (None, fields of a measurement) if the backend does not support it.

    The error of a backend that does not support a call names the argument `backend`. Plain PyTorch supports every call,
    so none of its errors is caught.
    """
    try:
        return function(*args, **kwargs), {}
    except GradcheckError:
        raise
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        if backend == "torch" or "backend" not in str(error):
            raise
        return None, {"missing": REFUSED, "note": str(error).splitlines()[0]}
