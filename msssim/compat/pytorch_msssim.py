"""``ssim``, ``ms_ssim``, ``SSIM`` and ``MS_SSIM`` with the signatures of pytorch-msssim by VainF.

The numbers are those of :func:`msssim.ssim` and :func:`msssim.msssim`. They differ from pytorch-msssim's as follows:

- SSIM, and MS-SSIM of images whose sides can be halved four times: values by at most 1e-5, gradients by at most 1e-4 of
  the largest entry, in float64 too. The cause is the window of pytorch-msssim, which is rounded to float32 and sums to
  1 - 3e-8: the variances of smooth images are off by 3e-8 times the squared mean. With its window divided by its sum,
  gradients agree to 1e-7 in float64.
- MS-SSIM of images with an odd side at one of the scales: pytorch-msssim pads with zeros, and its value is up to 0.02
  off (docs/peers.md).
- Images with a shorter side of 161 to 175 pixels, which have no MS-SSIM in the authors' code, are an error here. So are
  volumes with fewer slices than the window: pytorch-msssim does not filter along such an axis.
- Narrower dtypes than float32 are computed in float32, also under autocast; pytorch-msssim computes in their own.

`data_range` is 255 by default, as there. Floating-point images in 0..1 need ``data_range=1``; without it there is a
warning on a CPU.
"""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from .. import functional
from ..multiscale import WEIGHTS
from . import _window

__all__ = ["MS_SSIM", "SSIM", "ms_ssim", "ssim"]

_K = (0.01, 0.03)


def ssim(
    X: Tensor,
    Y: Tensor,
    data_range: float = 255,
    size_average: bool = True,
    win_size: int = 11,
    win_sigma: float = 1.5,
    win: Tensor | None = None,
    K: tuple[float, float] | list[float] = _K,
    nonnegative_ssim: bool = False,
) -> Tensor:
    """SSIM, as ``pytorch_msssim.ssim``; the number is that of :func:`msssim.ssim`.

    Parameters
    ----------
    X, Y : Tensor, shape (N, C, H, W) or (N, C, D, H, W)
        The images, or volumes. One slice is an image.
    data_range : float, default 255
        The width of the range of the images: 1 for images in 0..1.
    size_average : bool, default True
        Whether to return the mean over the batch; otherwise one value for each image.
    win_size, win_sigma : int and float, default 11 and 1.5
        Side and standard deviation of the window.
    win : Tensor, shape (C, 1, 1, size) or (C, 1, 1, 1, size), optional
        A Gaussian window, instead of `win_size` and `win_sigma`. Its values are read at each call.
    K : (float, float), default (0.01, 0.03)
        K1 and K2.
    nonnegative_ssim : bool, default False
        Whether the value of each channel is at least 0.

    Returns
    -------
    Tensor, shape () or (N,)

    Raises
    ------
    ValueError
        If `win` is no Gaussian window, the images have neither four nor five axes, or :func:`msssim.ssim` raises it.

    Examples
    --------
    >>> import torch
    >>> from msssim.compat import pytorch_msssim
    >>> image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> pytorch_msssim.ssim(image, image, data_range=1, size_average=False)
    tensor([1., 1.])
    """
    X, Y, dims = _images(X, Y)
    options: dict[str, Any] = _options(data_range, size_average, win_size, win_sigma, win, K) | {"spatial_dims": dims}
    value: Tensor
    if nonnegative_ssim:  # MS-SSIM of one scale is SSIM
        value = functional.msssim(X, Y, weights=(1.0,), normalize="relu", **options)
    else:
        value = functional.ssim(X, Y, **options)
    return value


def ms_ssim(
    X: Tensor,
    Y: Tensor,
    data_range: float = 255,
    size_average: bool = True,
    win_size: int = 11,
    win_sigma: float = 1.5,
    win: Tensor | None = None,
    weights: Sequence[float] | None = None,
    K: tuple[float, float] | list[float] = _K,
) -> Tensor:
    """MS-SSIM, as ``pytorch_msssim.ms_ssim``; the number is that of ``msssim.msssim(..., normalize="relu")``.

    Parameters
    ----------
    X, Y : Tensor, shape (N, C, H, W) or (N, C, D, H, W)
        The images, or volumes. One slice is an image.
    data_range, size_average, win_size, win_sigma, win, K
        As of :func:`ssim`.
    weights : sequence of float, optional
        One for each scale; by default the five of the paper.

    Returns
    -------
    Tensor, shape () or (N,)
        In [0, 1]. If one scale of a channel is negative, its index and gradient are 0: for a loss,
        :class:`msssim.MSSSIMLoss` is the better choice.

    Raises
    ------
    ValueError
        If the shortest side is below 176 pixels, `win` is no Gaussian window, or :func:`msssim.msssim` raises it.

    Examples
    --------
    >>> import torch
    >>> from msssim.compat import pytorch_msssim
    >>> image = torch.rand(1, 3, 176, 176, generator=torch.Generator().manual_seed(0))
    >>> pytorch_msssim.ms_ssim(image, image, data_range=1)
    tensor(1.)
    """
    X, Y, dims = _images(X, Y)
    options: dict[str, Any] = _options(data_range, size_average, win_size, win_sigma, win, K) | {"spatial_dims": dims}
    used = WEIGHTS if weights is None else weights
    _check_size(X, options["win_size"], len(used))
    value: Tensor = functional.msssim(X, Y, weights=used, normalize="relu", **options)
    return value


class SSIM(nn.Module):
    """:func:`ssim` as a module, as ``pytorch_msssim.SSIM``. `channel` has no effect: the shape decides.

    Examples
    --------
    >>> import torch
    >>> from msssim.compat.pytorch_msssim import SSIM
    >>> SSIM(data_range=1, channel=1)(torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32))
    tensor(1.)
    """

    def __init__(
        self,
        data_range: float = 255,
        size_average: bool = True,
        win_size: int = 11,
        win_sigma: float = 1.5,
        channel: int = 3,
        spatial_dims: int = 2,
        K: tuple[float, float] | list[float] = _K,
        nonnegative_ssim: bool = False,
    ) -> None:
        super().__init__()
        self.spatial_dims = _known(spatial_dims)
        self.data_range, self.size_average, self.win_size, self.win_sigma = (
            data_range,
            size_average,
            win_size,
            win_sigma,
        )
        self.K, self.nonnegative_ssim = K, nonnegative_ssim

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        _check_dims(X, self.spatial_dims)
        common = self.data_range, self.size_average, self.win_size, self.win_sigma
        return ssim(X, Y, *common, K=self.K, nonnegative_ssim=self.nonnegative_ssim)


class MS_SSIM(nn.Module):
    """:func:`ms_ssim` as a module, as ``pytorch_msssim.MS_SSIM``. `channel` has no effect: the shape decides.

    Examples
    --------
    >>> import torch
    >>> from msssim.compat.pytorch_msssim import MS_SSIM
    >>> MS_SSIM(data_range=1)(torch.zeros(1, 3, 176, 176), torch.zeros(1, 3, 176, 176))
    tensor(1.)
    """

    def __init__(
        self,
        data_range: float = 255,
        size_average: bool = True,
        win_size: int = 11,
        win_sigma: float = 1.5,
        channel: int = 3,
        spatial_dims: int = 2,
        weights: Sequence[float] | None = None,
        K: tuple[float, float] | list[float] = _K,
    ) -> None:
        super().__init__()
        self.spatial_dims = _known(spatial_dims)
        self.data_range, self.size_average, self.win_size, self.win_sigma = (
            data_range,
            size_average,
            win_size,
            win_sigma,
        )
        self.weights, self.K = weights, K

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        _check_dims(X, self.spatial_dims)
        common = self.data_range, self.size_average, self.win_size, self.win_sigma
        return ms_ssim(X, Y, *common, weights=self.weights, K=self.K)


def _options(
    data_range: float, size_average: bool, win_size: int, win_sigma: float, win: Tensor | None, K: Sequence[float]
) -> dict[str, Any]:
    """The options of :func:`msssim.ssim` and :func:`msssim.msssim`."""
    if win is not None:
        win_size, win_sigma = _window.size_and_sigma("win", win)
    K1, K2 = K
    reduction = "mean" if size_average else "none"
    return {
        "data_range": data_range, "win_size": win_size, "sigma": win_sigma, "K1": K1, "K2": K2, "reduction": reduction
    }  # fmt: skip


def _images(X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor, Literal[2, 3]]:
    """The images or volumes, and the number of their spatial axes; a volume of one slice is an image, as there."""
    if X.dim() == 5 and X.shape == Y.shape and X.shape[2] == 1:
        X, Y = X.squeeze(2), Y.squeeze(2)
    if X.dim() == 4:
        return X, Y, 2
    if X.dim() == 5:
        return X, Y, 3
    raise ValueError(
        f"X must have shape (N, C, H, W) or (N, C, D, H, W), got {tuple(X.shape)}; msssim.ssim and msssim.msssim take "
        "others"
    )


def _check_size(X: Tensor, win_size: int, levels: int) -> None:
    least, sides = win_size * 2 ** (levels - 1), X.shape[2:]
    if min(sides) < least:
        what = "pixels high and wide" if len(sides) == 2 else "voxels deep, high and wide"
        dims = "" if len(sides) == 2 else "spatial_dims=3, "
        raise ValueError(
            f"X must be at least {least} {what}, got {' × '.join(map(str, sides))}; for smaller images use fewer "
            f'scales: msssim.msssim(X, Y, {dims}data_range=..., normalize="relu", small="fewer")'
        )


def _known(spatial_dims: int) -> int:
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}")
    return spatial_dims


def _check_dims(X: Tensor, spatial_dims: int) -> None:
    """Raise an error for volumes where images are expected, and the other way round; there it is one of conv2d."""
    found = 2 if X.dim() == 5 and X.shape[2] == 1 else X.dim() - 2
    if found in (2, 3) and found != spatial_dims:
        layout = "(N, C, H, W)" if spatial_dims == 2 else "(N, C, D, H, W)"
        raise ValueError(
            f"X must have shape {layout} for spatial_dims={spatial_dims}, got {tuple(X.shape)}; pass "
            f"spatial_dims={found}"
        )
