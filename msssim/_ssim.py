"""ssim(): documentation, checks and the choice of a backend. No arithmetic."""

from typing import TYPE_CHECKING, Literal, overload

from torch import Tensor

from . import _call, _types, backends, checks, foreign, multiscale, resample

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


@overload
def ssim(
    img1: Tensor, img2: Tensor, *, full: Literal[False] = ..., **options: "Unpack[_types.SSIMOptions]"
) -> Tensor: ...
@overload
def ssim(
    img1: Tensor, img2: Tensor, *, full: Literal[True], **options: "Unpack[_types.SSIMOptions]"
) -> tuple[Tensor, Tensor]: ...
@overload
def ssim(
    img1: Tensor, img2: Tensor, *, full: bool, **options: "Unpack[_types.SSIMOptions]"
) -> Tensor | tuple[Tensor, Tensor]: ...
def ssim(
    img1: Tensor,
    img2: Tensor,
    *,
    data_range: _types.Scalar | None = None,
    win_size: int | _types.SupportsItem = 11,
    sigma: _types.Scalar = 1.5,
    K1: _types.Scalar = 0.01,
    K2: _types.Scalar = 0.03,
    downsample: _types.Downsample = None,
    full: bool = False,
    reduction: _types.Reduction = "mean",
    backend: _types.Backend = "auto",
    **unknown: object,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Structural similarity (SSIM) of two images or batches of images.

    .. math::
        l = \frac{2 \mu_x \mu_y + C_1}{\mu_x^2 + \mu_y^2 + C_1}, \quad
        cs = \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2}, \quad
        \mathrm{SSIM} = \mathrm{mean}(l \cdot cs)

    with a Gaussian window at every position inside the image, C1 = (K1 L)², C2 = (K2 L)², L the
    data_range, as in Wang's ssim_index.m. Channels are compared separately and averaged.

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
    win_size : int, default 11
        Side of the window in pixels, an odd number >= 3.
    sigma : float, default 1.5
        Standard deviation of the window in pixels.
    K1, K2 : float, default 0.01 and 0.03
        The constants of the paper. With 0, where a denominator is zero: l cs is l if only that of cs is, otherwise 1.
    downsample : {None, "auto"}
        "auto" first averages f × f pixels and keeps every f-th, f = max(1, round(min(H, W) / 256)), as in Wang's
        ssim.m. Published values of SSIM are computed this way.
    full : bool, default False
        Whether to return the map of l cs as well.
    reduction : {"mean", "none", "sum"}
        "mean" gives one value for the batch, "none" one for each image, "sum" the sum of these.
    backend : str, default "auto"
        One of :func:`available_backends`, or "auto" for the fastest that supports the call. The environment variable
        ``MSSSIM_BACKEND``, read at each call (or when torch.compile traces), names the backend to use for "auto":
        ``MSSSIM_BACKEND=torch`` switches the kernels off. Calls that it does not support run in plain PyTorch.

    Returns
    -------
    value : Tensor, shape () or (N,)
        In [-1, 1], 1 for identical images, in the dtype of the arithmetic; N times that with "sum".
    map : Tensor, shape (..., H - win_size + 1, W - win_size + 1)
        Only with ``full=True``, with the leading axes of the input; of the downsampled images with "auto".

    Raises
    ------
    TypeError
        If an image is not a real tensor, or the dtypes differ and are not both floating point.
    ValueError
        If the shapes differ, an image is smaller than the window, or an option is invalid.

    See Also
    --------
    msssim : the index over several scales.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
       structural similarity", IEEE Transactions on Image Processing 13(4), 2004. :doi:`10.1109/TIP.2003.819861`

    Examples
    --------
    >>> import torch, msssim
    >>> image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> msssim.ssim(image, image)
    tensor(1.)
    >>> value, map = msssim.ssim(image, 1 - image, full=True, reduction="none")
    >>> value.shape, map.shape
    (torch.Size([2]), torch.Size([2, 3, 54, 54]))
    """
    if unknown:
        foreign.refuse("ssim", unknown)
    data_range, win_size, sigma, K1, K2 = checks.ssim_options(
        data_range, win_size, sigma, K1, K2, downsample, reduction, backend
    )
    x, y, resolved_range = _call.prepared(img1, img2, data_range)
    if downsample == "auto":
        factor = resample.automatic_factor(*x.shape[-2:])
        x, y = (resample.box_downsample(image, factor) for image in (x, y))
    checks.window_fits(win_size, (*img1.shape[:-2], *x.shape[-2:]))
    params = _call.kernel_params(resolved_range, win_size, sigma, K1, K2)
    pooling = _call.pooling((1.0,), None, "wtd_sum", img1.dim(), x.dtype, reduction)
    if full:
        means, map = backends.ssim_map(backend, x, y, win_size, **params)
        value = _call.reduced(multiscale.pool(means.unsqueeze(-1), pooling), reduction)
        return value, map.reshape(*img1.shape[:-2], *map.shape[-2:])
    return _call.reduced(backends.index(backend, x, y, win_size, pooling, **params)[0], reduction)
