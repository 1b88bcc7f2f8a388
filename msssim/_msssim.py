"""msssim(): documentation, checks and the choice of a backend. No arithmetic."""

from typing import TYPE_CHECKING, Literal, TypeAlias, overload

from torch import Tensor

from . import _call, _types, advice, axes, backends, checks, foreign, multiscale
from .multiscale import WEIGHTS

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


Maps: TypeAlias = tuple[Tensor, ...]
"""A map of each scale."""


@overload
def msssim(
    img1: Tensor,
    img2: Tensor,
    *,
    scales: Literal[False] = ...,
    full: Literal[False] = ...,
    **options: "Unpack[_types.MSSSIMCallOptions]",
) -> Tensor: ...
@overload
def msssim(
    img1: Tensor,
    img2: Tensor,
    *,
    scales: Literal[True],
    full: Literal[False] = ...,
    **options: "Unpack[_types.MSSSIMCallOptions]",
) -> tuple[Tensor, Tensor]: ...
@overload
def msssim(
    img1: Tensor,
    img2: Tensor,
    *,
    scales: bool,
    full: Literal[False] = ...,
    **options: "Unpack[_types.MSSSIMCallOptions]",
) -> Tensor | tuple[Tensor, Tensor]: ...
@overload
def msssim(
    img1: Tensor,
    img2: Tensor,
    *,
    scales: Literal[False] = ...,
    full: Literal[True],
    **options: "Unpack[_types.MSSSIMCallOptions]",
) -> tuple[Tensor, Maps]: ...
@overload
def msssim(
    img1: Tensor,
    img2: Tensor,
    *,
    scales: Literal[True],
    full: Literal[True],
    **options: "Unpack[_types.MSSSIMCallOptions]",
) -> tuple[Tensor, Tensor, Maps]: ...
@overload
def msssim(
    img1: Tensor,
    img2: Tensor,
    *,
    scales: Literal[False] = ...,
    full: Literal["weights"],
    **options: "Unpack[_types.MSSSIMCallOptions]",
) -> tuple[Tensor, Maps, Maps]: ...
@overload
def msssim(
    img1: Tensor,
    img2: Tensor,
    *,
    scales: Literal[True],
    full: Literal["weights"],
    **options: "Unpack[_types.MSSSIMCallOptions]",
) -> tuple[Tensor, Tensor, Maps, Maps]: ...
@overload
def msssim(
    img1: Tensor, img2: Tensor, *, scales: bool, full: _types.Full, **options: "Unpack[_types.MSSSIMCallOptions]"
) -> Tensor | tuple[Tensor | Maps, ...]: ...
def msssim(
    img1: Tensor,
    img2: Tensor,
    *,
    data_range: _types.Scalar | None = None,
    normalize: _types.Normalize | bool = None,
    weights: _types.Weights = WEIGHTS,
    method: _types.Method = "product",
    channels: _types.Channels = "mean",
    win_size: _types.WinSize = 11,
    sigma: _types.Sigma = 1.5,
    K1: _types.Scalar = 0.01,
    K2: _types.Scalar = 0.03,
    mask: _types.Mask = None,
    scales: bool = False,
    full: _types.Full = False,
    small: _types.Small = "raise",
    spatial_dims: _types.SpatialDims = 2,
    reduction: _types.Reduction = "mean",
    backend: _types.Backend = "auto",
    **unknown: object,
) -> Tensor | tuple[Tensor | Maps, ...]:
    r"""Multi-scale structural similarity (MS-SSIM) of two images or batches of images.

    .. math::
        \mathrm{MS\text{-}SSIM} = \mathrm{mean}(l_M \cdot cs_M)^{w_M} \prod_{j=1}^{M-1} \mathrm{mean}(cs_j)^{w_j}

    with l and cs as in :func:`ssim`, M scales, and between two scales the mean over 2 × 2 pixels (on an odd side the
    last mean is over the pixels that exist), as in Wang's msssim.m. Channels are compared separately and averaged.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W), (C, H, W) or (H, W), or others by `spatial_dims`
        The images, of the same shape and device; their dtypes are the same or both floating point. float64 and 32- and
        64-bit integers are computed in float64, all other dtypes in float32, also under autocast; two different
        floating-point dtypes in the wider of these. The gradient of each image has the dtype of that image.
    data_range : float or Tensor, shape () or (N,), optional
        The distance between the smallest and the largest value that the images can have, > 0. The default depends on
        the dtype: 255 for uint8, 65535 for uint16, 1 for bool and floating point. It is never guessed from the pixels.
        If samples of images on a CPU clearly contradict it, there is a warning (rules: :mod:`msssim.advice`). A tensor
        has one element, such as ``img2.max()``, or a number for each image, shape (N,). It gets no gradient, and does
        not synchronize if it is on the device of the images; a number in it that is not positive gives NaN.
    normalize : {None, "relu", "simple", "covariance"} or bool, default None
        What to do with a negative mean of cs, whose power is not a real number.

        None or False
            Nothing: Wang's value. A negative mean (of cs, or of l cs at the coarsest scale) to the power of a
            fractional weight is NaN; the original gives a complex number. If a gradient is required, on a CPU, there
            is a warning.
        "relu"
            max(mean, 0) at each scale. In the product, one scale at 0 makes its channel's index and gradient 0.
        "simple" or True
            (mean + 1) / 2 at each scale. Not the value of MS-SSIM, but it has a gradient everywhere.
        "covariance"
            max(σxy, 0) inside cs and max(μx μy, 0) inside l, as Wang recommends for training. Equal to None if σxy and
            μx μy are negative in no window; otherwise it still has a gradient. (Images with values of both signs can
            have means of opposite signs: add a constant to both if that is not intended.)

        In every mode but None, value and gradients are finite for every finite input: gradients are clamped to the
        range of the images' dtype.
    weights : sequence of float, default ``WEIGHTS``
        The exponent of each scale, finest first; there is one scale for each weight. Each is in (0, 1e10].
    method : {"product", "wtd_sum"}, default "product"
        The product above, or the sum of the same means with weights normalized to sum to 1.
    channels : {"mean", "pooled"}, default "mean"
        "mean" averages the indices of the channels. "pooled" averages the terms of each scale over the channels of an
        image before the powers, as torchmetrics, MONAI and the original pytorch-msssim do.
    win_size : int or one for each spatial axis, default 11
        Side of the window in pixels, an odd integer >= 3.
    sigma : float or one for each spatial axis, default 1.5
        Standard deviation of the Gaussian window in pixels, > 0.
    K1, K2 : float, default 0.01 and 0.03
        The constants of the paper, in [0, 1000]. With 0, where a denominator is zero: cs is 1, and l cs is l if only
        that of cs is, otherwise 1.
    mask : Tensor, shape (H, W) or as the images or broadcastable to them, or "finite", optional
        Which pixels to use: bool (True: use it), or floating-point weights >= 0, as in :func:`ssim`. Between scales the
        weighted means of 2 × 2 pixels have the means of their weights. A plane without weight at some scale has no
        index, and the mean is over the others.
    scales : bool, default False
        Whether to return the terms of each scale and channel as well.
    full : {False, True, "weights"}, default False
        Whether to return the maps of all scales as well, and with "weights" the weights of their positions.
    small : {"raise", "fewer"}, default "raise"
        What to do with images whose shorter side is below win_size · 2^(M - 1), by default 176: raise an error, or use
        fewer scales, as many as fit, their weights normalized to sum to 1. Few volumes are large enough for five
        scales; the index of fewer scales is another number, comparable only with the same number of scales.
    spatial_dims : {1, 2, 3}, default 2
        The number of spatial axes: 1 for signals (N, C, L), 3 for volumes (N, C, D, H, W), also without N, or without N
        and C. `win_size` and `sigma` hold along each axis. Between scales are means of 2 samples or 2 × 2 × 2 voxels.
    reduction : {"mean", "none", "sum"}, default "mean"
        "mean" gives one value for the batch, "none" one for each image, "sum" the sum of these.
    backend : {"auto", "triton", "numba", "torch"}, default "auto"
        "auto" is the fastest that supports the call; :func:`available_backends` lists those that work here. The
        environment variable ``MSSSIM_BACKEND``, read at each call (or when torch.compile traces), names the backend to
        use for "auto": ``MSSSIM_BACKEND=torch`` switches the kernels off. Calls that it does not support run in plain
        PyTorch.

    Returns
    -------
    value : Tensor, shape () or (N,)
        At most 1, and 1 up to rounding for identical images, in the dtype of the arithmetic; N times that with "sum".
    terms : Tensor, shape (..., M)
        Only with ``scales=True``, with the leading axes of the input: mean cs of each scale, of the last mean l cs,
        before "relu" or "simple"; NaN where a plane has no weight.
    maps : tuple of Tensor, shape (..., H_j - win_size + 1, W_j - win_size + 1)
        Only with `full`: cs of each scale, l cs of the last; 0 where the weight is 0.
    weights : tuple of Tensor, shapes of the maps
        Only with ``full="weights"``: the mask in each window, 1 without a mask.

    Raises
    ------
    ImportError
        If the package of a backend that is named is not installed.
    TypeError
        If an image is not a real tensor, the dtypes differ and are not both floating point, a mask is neither bool nor
        floating point, or an option is unknown.
    ValueError
        If the shapes or devices differ, the images are too small for the scales, an option is invalid, a backend that
        is named does not support the call, or a mask on a CPU has a negative or non-finite weight.

    See Also
    --------
    ssim : the index at one scale.

    References
    ----------
    .. [1] Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality assessment",
       37th Asilomar Conference on Signals, Systems and Computers, 2003. :doi:`10.1109/ACSSC.2003.1292216`

    Examples
    --------
    >>> import torch, msssim
    >>> image = torch.rand(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    >>> msssim.msssim(image, image)
    tensor(1.)
    >>> 1 - image is not image and bool(msssim.msssim(image, 1 - image).isnan())
    True
    >>> bool(msssim.msssim(image, 1 - image, normalize="covariance") > 0)
    True
    """
    if unknown:
        foreign.refuse("msssim", unknown)
    tensor_range = data_range if data_range is not None and isinstance(data_range, Tensor) else None
    weights, (number_range, options) = checks.msssim_options(
        None if tensor_range is not None else data_range, normalize, weights, method, channels, win_size, sigma, K1, K2,
        small, spatial_dims, reduction, backend,
    )  # fmt: skip
    spatial_dims = options.spatial_dims
    if full:
        checks.full(full)
    if isinstance(normalize, bool):  # as in jorge-pessoa/pytorch-msssim
        normalize = "simple" if normalize else None
    x, y, resolved_range, pixel_weights = _call.prepared(
        img1, img2, number_range if tensor_range is None else tensor_range, mask, spatial_dims
    )
    side = options.win_size
    if small == "fewer":
        weights = multiscale.truncate_weights(weights, axes.fitting_levels(side, x.shape[2:]))
    axes.window_fits(side, img1.shape, len(weights), small, spatial_dims)
    pooling = _call.pooling(weights, normalize, method, img1.dim(), x.dtype, reduction, channels, spatial_dims)
    params, features = _call.kernel_params(resolved_range, options, pixel_weights, "normalized")
    side, leading = axes.largest(side), img1.shape[:-spatial_dims]
    extras: tuple[Tensor | Maps, ...] = ()
    if full:
        value, terms, maps, map_weights = backends.maps(backend, x, y, side, pooling, features, **params)
        extras = (_as_given(maps, leading), _as_given(map_weights, leading))[: 2 if full == "weights" else 1]
    else:
        value, terms = backends.index(backend, x, y, side, pooling, features, **params)
    if normalize is None and value.requires_grad:
        advice.warn_if_nan(value, terms)
    value = _call.reduced(value, reduction)
    if scales:
        extras = (terms.reshape(*leading, -1).to(value.dtype), *extras)
    return (value, *extras) if extras else value


def _as_given(maps: Maps, leading: tuple[int, ...]) -> Maps:
    """Maps with the leading axes of the images."""
    return tuple(each.reshape(*leading, *each.shape[2:]) for each in maps)
