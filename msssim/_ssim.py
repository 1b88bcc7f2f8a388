"""ssim(): documentation, checks and the choice of a backend. No arithmetic."""

from typing import TYPE_CHECKING, Literal, overload

from torch import Tensor

from . import _call, _types, axes, backends, checks, foreign, masks, resample

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


@overload
def ssim(
    img1: Tensor, img2: Tensor, *, full: Literal[False] = ..., **options: "Unpack[_types.SSIMCallOptions]"
) -> Tensor: ...
@overload
def ssim(
    img1: Tensor, img2: Tensor, *, full: Literal[True], **options: "Unpack[_types.SSIMCallOptions]"
) -> tuple[Tensor, Tensor]: ...
@overload
def ssim(
    img1: Tensor, img2: Tensor, *, full: Literal["weights"], **options: "Unpack[_types.SSIMCallOptions]"
) -> tuple[Tensor, Tensor, Tensor]: ...
@overload
def ssim(
    img1: Tensor, img2: Tensor, *, full: bool, **options: "Unpack[_types.SSIMCallOptions]"
) -> Tensor | tuple[Tensor, Tensor]: ...
@overload
def ssim(
    img1: Tensor, img2: Tensor, *, full: _types.Full, **options: "Unpack[_types.SSIMCallOptions]"
) -> Tensor | tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]: ...
def ssim(
    img1: Tensor,
    img2: Tensor,
    *,
    data_range: _types.Scalar | None = None,
    win_size: _types.WinSize = 11,
    sigma: _types.Sigma | None = None,
    K1: _types.Scalar = 0.01,
    K2: _types.Scalar = 0.03,
    window: _types.Window = "gaussian",
    sample_covariance: bool = False,
    padding: _types.Padding = "valid",
    mask: _types.Mask = None,
    mask_mode: _types.MaskMode = "normalized",
    downsample: _types.Downsample = None,
    spatial_dims: _types.SpatialDims = 2,
    full: _types.Full = False,
    reduction: _types.Reduction = "mean",
    backend: _types.Backend = "auto",
    **unknown: object,
) -> Tensor | tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
    r"""Structural similarity (SSIM) of two images or batches of images.

    .. math::
        l = \frac{2 \mu_x \mu_y + C_1}{\mu_x^2 + \mu_y^2 + C_1}, \quad
        cs = \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2}, \quad
        \mathrm{SSIM} = \mathrm{mean}(l \cdot cs)

    with a Gaussian window at every position inside the image, C1 = (K1 L)², C2 = (K2 L)², L the
    data_range, as in Wang's ssim_index.m. Channels are compared separately and averaged.

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
    win_size : int or one for each spatial axis, default 11
        Side of the window in pixels, an odd integer >= 3.
    sigma : float or one for each spatial axis, optional
        Standard deviation of the Gaussian window in pixels, > 0, by default 1.5. With a uniform window it must be None.
    K1, K2 : float, default 0.01 and 0.03
        The constants of the paper, in [0, 1000]. With 0, where a denominator is zero: l cs is l if only that of cs is,
        otherwise 1.
    window : {"gaussian", "uniform"}, default "gaussian"
        The weights of the pixels in a window.
    sample_covariance : bool, default False
        Whether covariances are divided by n - 1 for the n pixels of a window, as in scikit-image, not by n.
    padding : {"valid", "zeros", "reflect", "replicate", "symmetric"}, default "valid"
        "valid": the window is inside the image. With the others the map has the size of the (downsampled) image, and
        around it there are zeros, or its pixels: ``c b | a b c | b a`` ("reflect"), ``a a | a b c | c c``
        ("replicate"), ``b a | a b c | c b`` ("symmetric").
    mask : Tensor, shape (H, W) or as the images or broadcastable to them, or "finite", optional
        Which pixels to use: bool (True: use it), or floating-point weights >= 0. Windows use the weighted mean of their
        pixels (normalized convolution), and the mean over the map is weighted by the sum of the weights in a window.
        Pixels of weight 0, such as NaN, have no effect at all. A plane without weight has no index, and
        the mean is over the others. "finite" uses the pixels of each channel that are finite in both images. The mask
        gets no gradient. Only with ``padding="valid"``.
    mask_mode : {"normalized", "inside"}, default "normalized"
        Which windows count with a mask: those with a pixel that has weight, or only those with no pixel of weight 0.
    downsample : {None, "auto"}, default None
        "auto" first averages f × f pixels and keeps every f-th, f = max(1, round(min(H, W) / 256)), as in Wang's
        ssim.m. Published values of SSIM are computed this way.
    spatial_dims : {1, 2, 3}, default 2
        The number of spatial axes: 1 for signals (N, C, L), 3 for volumes (N, C, D, H, W), also without N, or without N
        and C. `win_size` and `sigma` hold along each axis.
    full : {False, True, "weights"}, default False
        Whether to return the map of l cs as well, and with "weights" the weight of each of its positions.
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
        In [-1, 1], 1 for identical images, in the dtype of the arithmetic; N times that with "sum".
    map : Tensor, shape (..., H - win_size + 1, W - win_size + 1), and so on for each spatial axis
        Only with `full`, with the leading axes of the input; of the downsampled images with "auto"; 0 where the weight
        is 0.
    weights : Tensor, shape of the map
        Only with ``full="weights"``: the mask in the window, 1 without a mask.

    Raises
    ------
    ImportError
        If the package of a backend that is named is not installed.
    TypeError
        If an image is not a real tensor, the dtypes differ and are not both floating point, a mask is neither bool nor
        floating point, or an option is unknown.
    ValueError
        If the shapes or devices differ, an image is smaller than the window, an option is invalid, a backend that is
        named does not support the call, or a mask on a CPU has a negative or non-finite weight.

    See Also
    --------
    msssim : the index over several scales.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
       structural similarity", IEEE Transactions on Image Processing 13(4), 2004. :doi:`10.1109/TIP.2003.819861`
    .. [2] H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR 1993.
       :doi:`10.1109/CVPR.1993.341081`

    Examples
    --------
    >>> import torch, msssim
    >>> image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> msssim.ssim(image, image)
    tensor(1.)
    >>> value, map = msssim.ssim(image, 1 - image, full=True, reduction="none")
    >>> value.shape, map.shape
    (torch.Size([2]), torch.Size([2, 3, 54, 54]))
    >>> damaged = image.clone()
    >>> damaged[..., :9] = float("nan")
    >>> msssim.ssim(image, damaged, mask="finite")
    tensor(1.)
    """
    if unknown:
        foreign.refuse("ssim", unknown)
    tensor_range = data_range if data_range is not None and isinstance(data_range, Tensor) else None
    number_range, options = checks.ssim_options(
        None if tensor_range is not None else data_range, win_size, sigma, K1, K2, window, sample_covariance, padding,
        mask_mode, downsample, spatial_dims, reduction, backend,
    )  # fmt: skip
    spatial_dims = options.spatial_dims
    if full:
        checks.full(full)
    x, y, resolved_range, weights = _call.prepared(
        img1, img2, number_range if tensor_range is None else tensor_range, mask, spatial_dims
    )
    if mask is not None and padding != "valid":
        raise ValueError(f'padding must be "valid" with a mask, got "{padding}"')
    if downsample == "auto":
        x, y, weights = _downsampled(x, y, weights)
    side, leading = options.win_size, img1.shape[:-spatial_dims]
    shape = *leading, *x.shape[2:]
    if padding == "valid":
        axes.window_fits(side, shape, spatial_dims=spatial_dims)
    else:
        axes.padding_fits(padding, side, shape, spatial_dims)
    params, features = _call.kernel_params(resolved_range, options, weights, mask_mode)
    pooling = _call.pooling((1.0,), None, "wtd_sum", img1.dim(), x.dtype, reduction, spatial_dims=spatial_dims)
    side = axes.largest(side)
    if not full:
        return _call.reduced(backends.index(backend, x, y, side, pooling, features, **params)[0], reduction)
    value, _, *found = backends.maps(backend, x, y, side, pooling, features, **params)
    map, of_map = (each[0].reshape(*leading, *each[0].shape[2:]) for each in found)
    value = _call.reduced(value, reduction)
    return (value, map, of_map) if full == "weights" else (value, map)


def _downsampled(x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    factor = resample.automatic_factor(*x.shape[2:])
    if weights is not None:
        return masks.downsample(x, y, weights, factor)
    return resample.box_downsample(x, factor), resample.box_downsample(y, factor), None
