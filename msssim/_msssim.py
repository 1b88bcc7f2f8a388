"""msssim(): documentation, checks and the choice of a backend. No arithmetic."""

from typing import TYPE_CHECKING, Literal, overload

from torch import Tensor

from . import _call, _types, advice, backends, checks, foreign, multiscale
from .multiscale import WEIGHTS

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


@overload
def msssim(
    img1: Tensor, img2: Tensor, *, scales: Literal[False] = ..., **options: "Unpack[_types.MSSSIMOptions]"
) -> Tensor: ...
@overload
def msssim(
    img1: Tensor, img2: Tensor, *, scales: Literal[True], **options: "Unpack[_types.MSSSIMOptions]"
) -> tuple[Tensor, Tensor]: ...
@overload
def msssim(
    img1: Tensor, img2: Tensor, *, scales: bool, **options: "Unpack[_types.MSSSIMOptions]"
) -> Tensor | tuple[Tensor, Tensor]: ...
def msssim(
    img1: Tensor,
    img2: Tensor,
    *,
    data_range: _types.Scalar | None = None,
    normalize: _types.Normalize | bool = None,
    weights: _types.Weights = WEIGHTS,
    method: _types.Method = "product",
    win_size: int | _types.SupportsItem = 11,
    sigma: _types.Scalar = 1.5,
    K1: _types.Scalar = 0.01,
    K2: _types.Scalar = 0.03,
    scales: bool = False,
    small: _types.Small = "raise",
    reduction: _types.Reduction = "mean",
    backend: _types.Backend = "auto",
    **unknown: object,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Multi-scale structural similarity (MS-SSIM) of two images or batches of images.

    .. math::
        \mathrm{MS\text{-}SSIM} = \mathrm{mean}(l_M \cdot cs_M)^{w_M} \prod_{j=1}^{M-1} \mathrm{mean}(cs_j)^{w_j}

    with l and cs as in :func:`ssim`, M scales, and between two scales the mean over 2 × 2 pixels (on an odd side the
    last mean is over the pixels that exist), as in Wang's msssim.m. Channels are compared separately and averaged.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W), (C, H, W) or (H, W)
        The images, of the same shape and device; their dtypes are the same or both floating point. float64 and 32- and
        64-bit integers are computed in float64, all other dtypes in float32, also under autocast; two different
        floating-point dtypes in the wider of these. The gradient of each image has the dtype of that image.
    data_range : float, optional
        The distance between the smallest and the largest value that the images can have. The default depends on the
        dtype: 255 for uint8, 65535 for uint16, 1 for bool and floating point. It is never guessed from the pixels; if
        samples of images on a CPU clearly contradict it, there is a warning (rules: :mod:`msssim.advice`). A tensor or
        array of one element, such as ``img2.max()``, is converted to a number at each call: it gets no gradient, a
        GPU synchronizes, and torch.compile breaks the graph.
    normalize : {None, "relu", "simple", "covariance"}, default None
        What to do with a negative mean of cs, whose power is not a real number.

        None
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
    method : {"product", "wtd_sum"}
        The product above, or the sum of the same means with weights normalized to sum to 1.
    win_size : int, default 11
        Side of the window in pixels, an odd number >= 3.
    sigma : float, default 1.5
        Standard deviation of the window in pixels.
    K1, K2 : float, default 0.01 and 0.03
        The constants of the paper. With 0, where a denominator is zero: cs is 1, and l cs is l if only that of cs is,
        otherwise 1.
    scales : bool, default False
        Whether to return the terms of each scale and channel as well.
    small : {"raise", "fewer"}
        What to do with images whose shorter side is below win_size · 2^(M - 1), by default 176: raise an error, or use
        fewer scales, as many as fit, their weights normalized to sum to 1.
    reduction : {"mean", "none", "sum"}
        "mean" gives one value for the batch, "none" one for each image, "sum" the sum of these.
    backend : str, default "auto"
        One of :func:`available_backends`, or "auto" for the fastest that supports the call. The environment variable
        ``MSSSIM_BACKEND``, read at each call (or when torch.compile traces), names the backend to use for "auto":
        ``MSSSIM_BACKEND=torch`` switches the kernels off. Calls that it does not support run in plain PyTorch.

    Returns
    -------
    value : Tensor, shape () or (N,)
        At most 1, and 1 up to rounding for identical images, in the dtype of the arithmetic; N times that with "sum".
    terms : Tensor, shape (..., M)
        Only with ``scales=True``, with the leading axes of the input: mean cs of each scale, of the last mean l cs,
        before "relu" or "simple".

    Raises
    ------
    TypeError
        If an image is not a real tensor, or the dtypes differ and are not both floating point.
    ValueError
        If the shapes differ, the images are too small for the scales, or an option is invalid.

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
    weights, (data_range, win_size, sigma, K1, K2) = checks.msssim_options(
        data_range, normalize, weights, method, win_size, sigma, K1, K2, small, reduction, backend
    )
    if isinstance(normalize, bool):  # as in jorge-pessoa/pytorch-msssim
        normalize = "simple" if normalize else None
    x, y, resolved_range = _call.prepared(img1, img2, data_range)
    if small == "fewer":
        weights = multiscale.truncate_weights(weights, checks.fitting_levels(win_size, *x.shape[-2:]))
    checks.window_fits(win_size, img1.shape, len(weights), small)
    pooling = _call.pooling(weights, normalize, method, img1.dim(), x.dtype, reduction)
    params = _call.kernel_params(resolved_range, win_size, sigma, K1, K2)
    value, terms = backends.index(backend, x, y, win_size, pooling, **params)
    if normalize is None and value.requires_grad:
        advice.warn_if_nan(value, terms)
    value = _call.reduced(value, reduction)
    return (value, terms.reshape(*img1.shape[:-2], -1).to(value.dtype)) if scales else value
