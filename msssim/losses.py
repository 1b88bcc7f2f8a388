"""Losses: 1 - SSIM, 1 - MS-SSIM, and its mix with L1, as functions and as modules."""

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from . import axes, functional, masks, ranges
from ._types import Mask, Reduction
from .modules import MSSSIM, SSIM
from .window import compute_dtype

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack

    from ._types import MSSSIMCallOptions, MSSSIMOptions, SSIMCallOptions, SSIMOptions

ALPHA = 0.84
"""The weight of MS-SSIM that Zhao et al. use."""


def ssim_loss(img1: Tensor, img2: Tensor, **options: "Unpack[SSIMCallOptions]") -> Tensor:
    """1 - SSIM.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W), (C, H, W) or (H, W)
        The images, as of :func:`msssim.ssim`.
    **options
        Those of :func:`msssim.ssim`, except `full`. ``reduction="sum"`` adds the losses of the images.

    Returns
    -------
    Tensor, shape () or (N,)
        In [0, 2], 0 for identical images. Value and gradients are finite for all finite images.

    Examples
    --------
    >>> import torch, msssim
    >>> msssim.ssim_loss(torch.zeros(2, 3, 32, 32), torch.ones(2, 3, 32, 32), reduction="none")
    tensor([0.9999, 0.9999])
    """
    return _one_minus(functional.ssim, img1, img2, options)


def msssim_loss(img1: Tensor, img2: Tensor, **options: "Unpack[MSSSIMCallOptions]") -> Tensor:
    """1 - MS-SSIM, with ``normalize="covariance"`` by default.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W), (C, H, W) or (H, W)
        The images, as of :func:`msssim.msssim`.
    **options
        Those of :func:`msssim.msssim`, except `scales` and `full`. ``reduction="sum"`` adds the losses of the images.
        ``small="fewer"`` is for training crops with a side below 176 pixels: it uses the scales that fit, and
        normalizes their weights. The crop size then decides how many scales there are, so keep it fixed.

    Returns
    -------
    Tensor, shape () or (N,)
        In [0, 1], 0 for identical images up to rounding. Value and gradients are finite for all finite images, except
        with ``normalize=None``, with which the index may be NaN early in training.

    Examples
    --------
    >>> import torch, msssim
    >>> crop = torch.zeros(1, 3, 96, 96)
    >>> msssim.msssim_loss(crop, crop, small="fewer")
    tensor(0.)
    """
    options.setdefault("normalize", "covariance")
    return _one_minus(functional.msssim, img1, img2, options)


def msssim_l1_loss(
    img1: Tensor, img2: Tensor, *, alpha: float = ALPHA, **options: "Unpack[MSSSIMCallOptions]"
) -> Tensor:
    r"""The mix of MS-SSIM and L1 that Zhao et al. propose for image restoration.

    .. math::
        \alpha (1 - \mathrm{MS\text{-}SSIM}) + (1 - \alpha) \frac{\mathrm{mean}(|x - y|)}{L}

    with the data_range L. The paper weights the L1 term by a Gaussian window. After averaging over the image this
    changes only the weight of pixels near the border, so it is left out here. The MS-SSIM of the paper has no pyramid:
    it uses wider windows instead. Here it is the MS-SSIM of :func:`msssim.msssim`.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W), (C, H, W) or (H, W)
        The images, as of :func:`msssim.msssim`.
    alpha : float, default 0.84
        The weight of MS-SSIM, in [0, 1].
    **options
        As of :func:`msssim.msssim_loss`.

    Returns
    -------
    Tensor, shape () or (N,)
        In [0, alpha + (1 - alpha) D], D the largest difference of two pixels in units of data_range; 0 for identical
        images up to rounding. Value and gradients are finite where those of :func:`msssim.msssim_loss` are.

    References
    ----------
    .. [1] H. Zhao, O. Gallo, I. Frosio, J. Kautz, "Loss functions for image restoration with neural networks", IEEE
       Transactions on Computational Imaging 3(1), 2017. :doi:`10.1109/TCI.2016.2644865`

    Examples
    --------
    >>> import torch, msssim
    >>> target = torch.rand(1, 3, 176, 176, generator=torch.Generator().manual_seed(0))
    >>> print(f"{msssim.msssim_l1_loss(target, target + 0.1).item():.3f}")
    0.018
    """
    alpha = _checked_alpha(alpha)
    structure = msssim_loss(img1, img2, **options)
    of_l1 = options.get("data_range"), options.get("mask"), options.get("reduction", "mean")
    l1 = _l1(img1, img2, *of_l1, axes.number(options.get("spatial_dims", 2)))
    return alpha * structure + (1 - alpha) * l1.to(structure.dtype)


def _one_minus(index: Any, img1: Tensor, img2: Tensor, options: Any) -> Tensor:
    """1 - index(), summed over the images with reduction="sum"."""
    if options.get("reduction") == "sum":
        loss: Tensor = 1 - index(img1, img2, **options | {"reduction": "none"})
        return loss.sum()
    loss = 1 - index(img1, img2, **options)
    return loss


def _l1(img1: Tensor, img2: Tensor, data_range: Any, mask: Mask, reduction: Reduction, spatial_dims: int) -> Tensor:
    """The mean absolute difference in units of data_range; the images and options have been checked.

    With a mask it is the weighted mean over the pixels and channels of each image, and the mean over the images with
    weight.
    """
    dtype = torch.promote_types(*(compute_dtype(image.dtype) for image in (img1, img2)))
    weights = None if mask is None else masks.prepared(mask, img1, img2, spatial_dims)
    x, y = (image[(None,) * (spatial_dims + 2 - image.dim())].to(dtype) for image in (img1, img2))
    of_range = ranges.of_images(data_range, img1, spatial_dims)
    each, per_image = reduction != "mean" and img1.dim() == spatial_dims + 2, tuple(range(1, spatial_dims + 2))
    if weights is None and not (isinstance(of_range, Tensor) and of_range.dim()):
        difference = (x - y).abs()
        mean = difference.mean(per_image) if each else difference.mean()
        return _reduced_l1(mean / of_range, reduction, dtype)
    pixels = torch.ones_like(x) if weights is None else weights.to(dtype).expand_as(x)
    hidden = pixels == 0
    difference = (x.masked_fill(hidden, 0.0) - y.masked_fill(hidden, 0.0)).abs()
    total = pixels.sum(per_image, keepdim=True)
    means = (difference * pixels / (total * of_range)).sum(per_image)
    return _reduced_l1(means if each else means[total.flatten() > 0].mean(), reduction, dtype)


def _reduced_l1(mean: Tensor, reduction: Reduction, dtype: torch.dtype) -> Tensor:
    # Of finite pixels near the largest number the difference is infinite.
    mean = mean.clamp(max=torch.finfo(dtype).max).to(dtype)
    return mean.sum() if reduction == "sum" else mean


def _checked_alpha(alpha: Any) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be a number from 0 to 1, got {alpha!r}")
    return float(alpha)


class SSIMLoss(SSIM):
    """:func:`msssim.ssim_loss`, 1 - SSIM, as a module; its options are attributes.

    Examples
    --------
    >>> import torch, msssim
    >>> criterion = msssim.SSIMLoss(data_range=255)
    >>> image = torch.full((1, 3, 32, 32), 100.0)
    >>> criterion(image, image)
    tensor(0.)
    """

    _names: ClassVar[tuple[str, ...]] = tuple(name for name in SSIM._names if name != "full")

    def __init__(self, **options: "Unpack[SSIMOptions]") -> None:
        super().__init__(**options)  # pyright: ignore[reportArgumentType]  # the dictionary may have other keys

    def forward(self, img1: Tensor, img2: Tensor, **options: Any) -> Tensor:
        return ssim_loss(img1, img2, **self.options | options)


class MSSSIMLoss(MSSSIM):
    """:func:`msssim.msssim_loss`, 1 - MS-SSIM with ``normalize="covariance"``, as a module; its options are attributes.

    Pass ``small="fewer"`` for training crops below 176 pixels.

    Examples
    --------
    >>> import torch, msssim
    >>> criterion = msssim.MSSSIMLoss()
    >>> output = torch.full((1, 3, 176, 176), 0.5, requires_grad=True)
    >>> loss = criterion(output, torch.full((1, 3, 176, 176), 0.25))
    >>> loss.backward()
    >>> bool(loss > 0) and bool(output.grad.isfinite().all())
    True
    """

    _names: ClassVar[tuple[str, ...]] = tuple(name for name in MSSSIM._names if name not in ("scales", "full"))

    def __init__(self, **options: "Unpack[MSSSIMOptions]") -> None:
        options.setdefault("normalize", "covariance")
        super().__init__(**options)  # pyright: ignore[reportArgumentType]  # the dictionary may have other keys

    def forward(self, img1: Tensor, img2: Tensor, **options: Any) -> Tensor:
        return msssim_loss(img1, img2, **self.options | options)


class MSSSIML1Loss(MSSSIMLoss):
    """:func:`msssim.msssim_l1_loss`, the mix of MS-SSIM and L1 of Zhao et al., as a module; its options are attributes.

    References
    ----------
    .. [1] H. Zhao, O. Gallo, I. Frosio, J. Kautz, "Loss functions for image restoration with neural networks", IEEE
       Transactions on Computational Imaging 3(1), 2017. :doi:`10.1109/TCI.2016.2644865`

    Examples
    --------
    >>> import torch, msssim
    >>> criterion = msssim.MSSSIML1Loss(alpha=0.5, small="fewer")
    >>> criterion.alpha = 0.84
    >>> criterion(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
    tensor(0.)
    """

    alpha: float

    def __init__(self, *, alpha: float = ALPHA, **options: "Unpack[MSSSIMOptions]") -> None:
        super().__init__(**options)
        self.alpha = alpha

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, _checked_alpha(value) if name == "alpha" else value)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha!r}, {super().extra_repr()}"

    def forward(self, img1: Tensor, img2: Tensor, **options: Any) -> Tensor:
        return msssim_l1_loss(img1, img2, alpha=self.alpha, **self.options | options)
