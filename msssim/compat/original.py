"""``ssim``, ``msssim``, ``SSIM`` and ``MSSSIM`` with the signatures of the original pytorch-msssim (by jorge-pessoa).

The numbers are those of :func:`msssim.ssim` and :func:`msssim.msssim`. They differ from that package's as follows:

- Range. With ``val_range=None`` it guessed the range from the first image at every scale: 255 if a pixel is above 128,
  else 1. Here the dtype decides: 255 for uint8, 1 for floating point. Pass ``val_range=255`` for floating-point images
  in 0..255.
- Product. Its early versions multiplied the last scale in four times, which lowers the value by up to 0.06.
- Channels. It averaged all channels, and all images of the batch, before the powers of MS-SSIM. Here each channel of
  each image has its own index, and these are averaged.
- Odd sides. It dropped the last row or column, up to 0.03 off together with the product (docs/peers.md).
- Small images. It shrank the window silently. Here they are an error.
"""

from typing import Any

from torch import Tensor, nn

from .. import functional
from . import _window

__all__ = ["MSSSIM", "SSIM", "msssim", "ssim"]


def ssim(
    img1: Tensor,
    img2: Tensor,
    window_size: int = 11,
    window: Tensor | None = None,
    size_average: bool = True,
    full: bool = False,
    val_range: float | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """SSIM, as ``pytorch_msssim.ssim`` of the original package; the number is that of :func:`msssim.ssim`.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W)
        The images.
    window_size : int, default 11
        Side of the window, whose sigma is 1.5.
    window : Tensor, shape (C, 1, size, size), optional
        A Gaussian window, instead of `window_size`. Its values are read at each call.
    size_average : bool, default True
        Whether to return the mean over the batch; otherwise one value for each image.
    full : bool, default False
        Whether to return the mean of the contrast-structure term as well. It needs images of 2 · `window_size` pixels.
    val_range : float, optional
        The width of the range of the images. By default the dtype decides.

    Returns
    -------
    Tensor, shape () or (N,), or two of them

    Raises
    ------
    ValueError
        If `window` is no Gaussian window, or :func:`msssim.ssim` raises it.

    Examples
    --------
    >>> import torch
    >>> from msssim.compat import original
    >>> image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> value, cs = original.ssim(image, image, full=True)
    >>> print(f"{value.item():.3f} {cs.item():.3f}")
    1.000 1.000
    """
    options = _options(window_size, size_average, val_range)
    if window is not None:
        options["win_size"], options["sigma"] = _window.size_and_sigma("window", window)
    value: Tensor = functional.ssim(img1, img2, **options)
    if not full:
        return value
    # The first of two scales has the mean of cs. With weights of 1 a negative mean has a power.
    _, terms = functional.msssim(img1, img2, weights=(1.0, 1.0), scales=True, **options)
    cs = terms[..., 0].to(value.dtype)
    return value, cs.mean() if size_average else cs.mean(-1)


def msssim(
    img1: Tensor,
    img2: Tensor,
    window_size: int = 11,
    size_average: bool = True,
    val_range: float | None = None,
    normalize: Any = None,
) -> Tensor:
    """MS-SSIM, as ``pytorch_msssim.msssim`` of the original package; the number is that of :func:`msssim.msssim`.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W)
        The images.
    window_size, size_average, val_range
        As of :func:`ssim`.
    normalize : {None, False, True, "simple", "relu"}
        As of :func:`msssim.msssim`, which has "covariance" too.

    Returns
    -------
    Tensor, shape () or (N,)

    Raises
    ------
    ValueError
        If :func:`msssim.msssim` raises it.

    Examples
    --------
    >>> import torch
    >>> from msssim.compat import original
    >>> image = torch.rand(1, 3, 176, 176, generator=torch.Generator().manual_seed(0))
    >>> original.msssim(image, image, normalize="relu")
    tensor(1.)
    """
    options = _options(window_size, size_average, val_range)
    value: Tensor = functional.msssim(img1, img2, normalize=normalize, **options)
    return value


class SSIM(nn.Module):
    """:func:`ssim` as a module, as ``pytorch_msssim.SSIM`` of the original package, which ignored `val_range`.

    Examples
    --------
    >>> import torch
    >>> from msssim.compat.original import SSIM
    >>> SSIM()(torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32))
    tensor(1.)
    """

    def __init__(self, window_size: int = 11, size_average: bool = True, val_range: float | None = None) -> None:
        super().__init__()
        self.window_size, self.size_average, self.val_range = window_size, size_average, val_range

    def forward(self, img1: Tensor, img2: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ssim(img1, img2, self.window_size, size_average=self.size_average, val_range=self.val_range)


class MSSSIM(nn.Module):
    """:func:`msssim` as a module, as ``pytorch_msssim.MSSSIM`` of the original package; `channel` has no effect.

    Examples
    --------
    >>> import torch
    >>> from msssim.compat.original import MSSSIM
    >>> MSSSIM()(torch.zeros(1, 1, 176, 176), torch.zeros(1, 1, 176, 176))
    tensor(1.)
    """

    def __init__(self, window_size: int = 11, size_average: bool = True, channel: int = 3) -> None:
        super().__init__()
        self.window_size, self.size_average = window_size, size_average

    def forward(self, img1: Tensor, img2: Tensor) -> Tensor:
        return msssim(img1, img2, self.window_size, self.size_average)


def _options(window_size: int, size_average: bool, val_range: float | None) -> dict[str, Any]:
    """The options of :func:`msssim.ssim` and :func:`msssim.msssim`."""
    return {"win_size": window_size, "reduction": "mean" if size_average else "none", "data_range": val_range}
