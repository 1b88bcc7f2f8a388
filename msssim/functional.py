"""ssim() and msssim(): their documentation, the checks, the choice of a backend. No arithmetic."""

from . import _dispatch, advice, backends, checks, multiscale, resample, window
from .multiscale import WEIGHTS


def ssim(
    img1,
    img2,
    *,
    data_range=None,
    win_size=11,
    sigma=1.5,
    K1=0.01,
    K2=0.03,
    downsample=None,
    full=False,
    reduction="mean",
    backend="auto",
):
    r"""Structural similarity (SSIM) of two images or batches of images.

    .. math::
        l = \frac{2 \mu_x \mu_y + C_1}{\mu_x^2 + \mu_y^2 + C_1}, \quad
        cs = \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2}, \quad
        \mathrm{SSIM} = \mathrm{mean}(l \cdot cs)

    with a Gaussian window at every position where it lies inside the image, C1 = (K1 L)², C2 = (K2 L)², L the
    data_range, as in Wang's ssim_index.m. Channels are compared one by one and averaged.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W), (C, H, W) or (H, W)
        The images, of one shape and device, and of one dtype or floating point both. float64 (and 32- and 64-bit
        integers) are computed in float64, every other dtype in float32, under autocast too; two floating-point dtypes
        in the wider of these. The gradient of each image has its dtype.
    data_range : float, optional
        The distance between the least and the largest value that the images can have. By default that of the dtype:
        255 for uint8, 65535 for uint16, 1 for bool and floating point. It is never guessed from the data; images on
        a CPU whose samples plainly contradict it get a warning (the rules are in :mod:`msssim.advice`). A tensor or
        array of one element, such as ``img2.max()``, is read as a number at each call: no gradient goes through it,
        on a GPU the call waits for it, and torch.compile breaks the graph there.
    win_size : int, default 11
        Side of the window in pixels; odd, at least 3.
    sigma : float, default 1.5
        Standard deviation of the window in pixels.
    K1, K2 : float, default 0.01 and 0.03
        The constants of the paper. At 0, where a denominator is zero, l cs is l if only that of cs is, and 1 otherwise.
    downsample : {None, "auto"}
        "auto" first averages f × f pixels and keeps every f-th, f = max(1, round(min(H, W) / 256)), as Wang's ssim.m
        does. Published figures for SSIM are made like this.
    full : bool, default False
        Whether to return the map of l cs too.
    reduction : {"mean", "none"}
        "mean" gives one value for the batch, "none" one for each image.
    backend : str, default "auto"
        One of :func:`available_backends`, or "auto" for the fastest that covers the call. The environment variable
        ``MSSSIM_BACKEND``, read at each call (by torch.compile, when it traces), names one to take for "auto";
        ``MSSSIM_BACKEND=torch`` switches the kernels off. What a named one does not cover, plain PyTorch computes.

    Returns
    -------
    value : Tensor, shape () or (N,)
        In [-1, 1], 1 for identical images; float64 for what is computed in float64, else float32.
    map : Tensor, shape (..., H - win_size + 1, W - win_size + 1)
        Only with ``full=True``, with the leading axes of the input; of the reduced images if they were downsampled.

    Raises
    ------
    TypeError
        For what is not a real tensor, or for two dtypes that are not floating point both.
    ValueError
        For shapes that differ, images smaller than the window, or an option that is out of range.

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
    data_range, win_size, sigma, K1, K2 = checks.ssim_options(
        data_range, win_size, sigma, K1, K2, downsample, reduction, backend
    )
    checks.images(img1, img2)
    data_range, given = checks.range_known(data_range, img1.dtype), data_range is not None
    advice.about_range(img1, img2, data_range, given)
    x, y = _as_batch(img1), _as_batch(img2)
    if x.dtype != y.dtype:
        x, y = backends.in_wider_dtype(x, y)
    if downsample == "auto":
        factor = resample.automatic_factor(*x.shape[-2:])
        x, y = (resample.average_and_skip(image, factor) for image in (x, y))
    checks.window_fits(win_size, (*img1.shape[:-2], *x.shape[-2:]))
    problem = _problem(data_range, win_size, sigma, K1, K2)
    pooling = _pooling((1.0,), None, "wtd_sum", img1.dim(), x.dtype, reduction)
    if full:
        means, map = backends.choose(backend, x, win_size, maps=True).ssim_map(x, y, **problem)
        return multiscale.pool(means.unsqueeze(-1), pooling), map.reshape(*img1.shape[:-2], *map.shape[-2:])
    return backends.index(backend, x, y, win_size, pooling, **problem)[0]


def msssim(
    img1,
    img2,
    *,
    data_range=None,
    normalize=None,
    weights=WEIGHTS,
    method="product",
    win_size=11,
    sigma=1.5,
    K1=0.01,
    K2=0.03,
    scales=False,
    small="raise",
    reduction="mean",
    backend="auto",
):
    r"""Multi-scale structural similarity (MS-SSIM) of two images or batches of images.

    .. math::
        \mathrm{MS\text{-}SSIM} = \mathrm{mean}(l_M \cdot cs_M)^{w_M} \prod_{j=1}^{M-1} \mathrm{mean}(cs_j)^{w_j}

    with l and cs as in :func:`ssim`, M scales, and between two scales the mean of 2 × 2 pixels (on an odd side the last
    mean is over the pixels that exist), as in Wang's msssim.m. Channels are compared one by one and averaged.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W), (C, H, W) or (H, W)
        The images, of one shape and device, and of one dtype or floating point both. float64 (and 32- and 64-bit
        integers) are computed in float64, every other dtype in float32, under autocast too; two floating-point dtypes
        in the wider of these. The gradient of each image has its dtype.
    data_range : float, optional
        The distance between the least and the largest value that the images can have. By default that of the dtype:
        255 for uint8, 65535 for uint16, 1 for bool and floating point. It is never guessed from the data; images on
        a CPU whose samples plainly contradict it get a warning (the rules are in :mod:`msssim.advice`). A tensor or
        array of one element, such as ``img2.max()``, is read as a number at each call: no gradient goes through it,
        on a GPU the call waits for it, and torch.compile breaks the graph there.
    normalize : {None, "relu", "simple", "covariance"}, default None
        What is done about a negative mean of cs, whose power is no real number.

        None
            Nothing: Wang's value. A negative mean (of cs, or of l cs at the coarsest scale) to the power of a weight
            that is no integer gives NaN, where the original gives a complex number. Where a gradient is asked for, on
            a CPU, a warning says so.
        "relu"
            max(mean, 0) at each scale. Of the product, a scale at 0 makes the index of its channel 0, and its gradient.
        "simple" or True
            (mean + 1) / 2 at each scale. Another number than MS-SSIM, with a gradient everywhere.
        "covariance"
            max(σxy, 0) inside cs and max(μx μy, 0) inside l, which Wang advises for training. Equal to None where in no
            window σxy or μx μy is negative, and with a gradient where one is. (Images of both signs can have means of
            opposite signs: add a constant to both where that is not meant.)

        In every mode but None, value and gradients are finite for every finite input: a gradient beyond the range of
        the images' dtype is its largest number.
    weights : sequence of float, default ``WEIGHTS``
        The exponent of each scale, finest first; as many scales as weights. Each is positive and at most 1e10.
    method : {"product", "wtd_sum"}
        The product above, or the sum of the same means with weights made to sum to 1.
    win_size : int, default 11
        Side of the window in pixels; odd, at least 3.
    sigma : float, default 1.5
        Standard deviation of the window in pixels.
    K1, K2 : float, default 0.01 and 0.03
        The constants of the paper. At 0, where a denominator is zero, cs is 1, and l cs is l if only the denominator of
        cs is zero and 1 otherwise.
    scales : bool, default False
        Whether to return the terms of each scale and channel too.
    small : {"raise", "fewer"}
        What to do with images whose shorter side is below win_size · 2^(M - 1), 176 by default: an error, or as many
        scales as fit, their weights made to sum to 1.
    reduction : {"mean", "none"}
        "mean" gives one value for the batch, "none" one for each image.
    backend : str, default "auto"
        One of :func:`available_backends`, or "auto" for the fastest that covers the call. The environment variable
        ``MSSSIM_BACKEND``, read at each call (by torch.compile, when it traces), names one to take for "auto";
        ``MSSSIM_BACKEND=torch`` switches the kernels off. What a named one does not cover, plain PyTorch computes.

    Returns
    -------
    value : Tensor, shape () or (N,)
        At most 1, which identical images have, but for rounding; float64 for what is computed in float64, else float32.
    terms : Tensor, shape (..., M)
        Only with ``scales=True``, with the leading axes of the input: mean cs of each scale, of the last mean l cs,
        before "relu" or "simple".

    Raises
    ------
    TypeError
        For what is not a real tensor, or for two dtypes that are not floating point both.
    ValueError
        For shapes that differ, images too small for the scales, or an option that is out of range.

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
    weights, (data_range, win_size, sigma, K1, K2) = checks.msssim_options(
        data_range, normalize, weights, method, win_size, sigma, K1, K2, small, reduction, backend
    )
    if isinstance(normalize, bool):  # the original's older spelling
        normalize = "simple" if normalize else None
    checks.images(img1, img2)
    data_range, given = checks.range_known(data_range, img1.dtype), data_range is not None
    advice.about_range(img1, img2, data_range, given)
    x, y = _as_batch(img1), _as_batch(img2)
    if x.dtype != y.dtype:
        x, y = backends.in_wider_dtype(x, y)
    if small == "fewer":
        weights = multiscale.fewer(weights, checks.fitting_levels(win_size, *x.shape[-2:]))
    checks.window_fits(win_size, img1.shape, len(weights), small)
    pooling = _pooling(weights, normalize, method, img1.dim(), x.dtype, reduction)
    problem = _problem(data_range, win_size, sigma, K1, K2)
    value, terms = backends.index(backend, x, y, win_size, pooling, **problem)
    if normalize is None and value.requires_grad:
        advice.about_nan(value, terms)
    return (value, terms.reshape(*img1.shape[:-2], -1).to(value.dtype)) if scales else value


def _as_batch(image):
    return image[(None,) * (4 - image.dim())] if image.dim() < 4 else image


@_dispatch.remembered
def _problem(data_range, win_size, sigma, K1, K2):
    """The arguments that every backend takes beside the images."""
    c1, c2, unit = window.constants_and_unit(K1, K2, data_range)
    return dict(taps=window.gaussian_taps(win_size, sigma), c1=c1, c2=c2, unit=unit)


def _pooling(weights, normalize, method, dim, dtype, reduction):
    together = reduction == "mean" or dim < 4
    return multiscale.Pooling(weights, normalize, method, together, window.dtype_of_computation(dtype))
