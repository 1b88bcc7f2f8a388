"""stream(): MS-SSIM of images that are larger than memory, block by block of their rows."""

import contextlib
import functools
import numbers
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import torch
from torch import Tensor

from . import _types, advice, axes, backends, checks, multiscale, ranges, window
from .backends import streamed
from .multiscale import WEIGHTS

_SAMPLED_ROWS = 32  # of which a warning about data_range reads pixels

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


class SlicesLikeArray(Protocol):
    """An array in memory or in a file: numpy.ndarray, numpy.memmap, zarr.Array, h5py.Dataset, a tensor."""

    @property
    def shape(self) -> Any:
        """Lengths of the axes."""

    @property
    def dtype(self) -> Any:
        """A dtype of NumPy or PyTorch."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return an array for slices of the axes."""


@overload
def stream(
    reference: SlicesLikeArray,
    distorted: SlicesLikeArray,
    *,
    scales: Literal[False] = ...,
    **options: "Unpack[_types.StreamOptions]",
) -> Tensor: ...
@overload
def stream(
    reference: SlicesLikeArray,
    distorted: SlicesLikeArray,
    *,
    scales: Literal[True],
    **options: "Unpack[_types.StreamOptions]",
) -> tuple[Tensor, Tensor]: ...
@overload
def stream(
    reference: SlicesLikeArray, distorted: SlicesLikeArray, *, scales: bool, **options: "Unpack[_types.StreamOptions]"
) -> Tensor | tuple[Tensor, Tensor]: ...
def stream(
    reference: SlicesLikeArray,
    distorted: SlicesLikeArray,
    *,
    data_range: _types.Scalar | None = None,
    normalize: _types.Normalize | bool = None,
    weights: _types.Weights = WEIGHTS,
    method: _types.Method = "product",
    channels: _types.Channels = "mean",
    win_size: int | _types.SupportsItem = 11,
    sigma: _types.Scalar = 1.5,
    K1: _types.Scalar = 0.01,
    K2: _types.Scalar = 0.03,
    scales: bool = False,
    small: _types.Small = "raise",
    channels_last: bool = False,
    rows: int | None = None,
    progress: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """MS-SSIM of two images that need not fit into memory, read in blocks of rows.

    The result has the same bits as that of :func:`msssim.msssim` with ``backend="numba"`` on the whole images. There is
    no gradient. Planes that float32 cannot compute accurately are read a second time and computed in float64, as there.

    Parameters
    ----------
    reference, distorted : array_like, shape (H, W), (C, H, W), or (H, W, C) with ``channels_last=True``
        Anything with `shape`, `dtype` and slices that are arrays: numpy.memmap, zarr.Array, h5py.Dataset, arrays,
        tensors on the CPU. Dtypes as in :func:`msssim.msssim`. Of a file that numpy.memmap maps, the size is checked
        before and after each block is read.
    data_range, normalize, weights, method, channels, win_size, sigma, K1, K2, small
        As in :func:`msssim.msssim`, with the same defaults. `win_size` and `sigma` are one number for both axes, and
        `win_size` is at most 31. A tensor as `data_range` has one element.
    scales : bool, default False
        Whether to return the terms of each scale and channel as well.
    channels_last : bool, default False
        Whether the channels of images with three axes are the last axis, as in slides and most files.
    rows : int, optional
        Rows to read at a time, >= 1. Memory is in proportion to their number; the result does not depend on it.
        By default as many as take about 128 MiB. For files that are stored in chunks choose a multiple of a chunk.
    progress : bool, default False
        Whether to show a progress bar, for which tqdm must be installed.

    Returns
    -------
    value : Tensor, shape ()
        As of :func:`msssim.msssim`.
    terms : Tensor, shape (M,) or (C, M)
        Only with ``scales=True``: as of :func:`msssim.msssim`.

    Raises
    ------
    ImportError
        If Numba is not installed, or tqdm for a progress bar.
    OSError
        If a mapped file became shorter, or a source raises it.
    TypeError
        If an image is not an array of real numbers, or the dtypes differ and are not both floating point.
    ValueError
        If the shapes differ, the images are too small for the scales, a tensor is not on the CPU, or an option is
        invalid.

    See Also
    --------
    msssim : images in memory.

    References
    ----------
    .. [1] Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality assessment",
       37th Asilomar Conference on Signals, Systems and Computers, 2003. :doi:`10.1109/ACSSC.2003.1292216`

    Examples
    --------
    >>> import torch, msssim
    >>> slide = torch.randint(0, 256, (256, 512, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    >>> value = msssim.stream(slide, 255 - slide, channels_last=True, normalize="covariance", rows=64)
    >>> whole = [image.permute(2, 0, 1) for image in (slide, 255 - slide)]
    >>> bool(value == msssim.msssim(*whole, normalize="covariance", backend="numba"))
    True
    """
    weights, (data_range, options) = checks.msssim_options(
        data_range, normalize, weights, method, channels, win_size, sigma, K1, K2, small, 2, "mean", "numba"
    )
    side, deviation = options.win_size, options.sigma
    if isinstance(side, tuple) or isinstance(deviation, tuple):
        raise ValueError(f"win_size and sigma must be one number for both axes, got {side} and {deviation}")
    if isinstance(normalize, bool):
        normalize = "simple" if normalize else None
    _check_options(rows)
    images = _opened(reference, distorted, channels_last)
    shape, source_dtype = images[0].shape, images[0].source_dtype
    resolved_range = ranges.resolved(data_range, source_dtype)
    if small == "fewer":
        weights = multiscale.truncate_weights(weights, axes.fitting_levels(side, shape[-2:]))
    axes.window_fits(side, shape, len(weights), small)
    _warn_if_out_of_range(images, resolved_range, data_range is not None)
    dtype = streamed.common_dtype(*(image.dtype for image in images))
    backends.choose("numba", torch.empty((1, 1, 0, 0), dtype=dtype, device="cpu"), side)
    pooling = multiscale.Pooling(weights, normalize, method, True, window.compute_dtype(dtype), channels=channels)
    constants: Any = window.constants_and_unit(options.K1, options.K2, resolved_range)
    with _bar(progress) as calls:
        params = window.gaussian_taps(side, deviation or 1.5), *constants
        value, terms = streamed.index(images, pooling, params, rows, calls)
    return (value, terms.reshape(*shape[:-2], -1).to(value.dtype)) if scales else value


def _check_options(rows: Any) -> None:
    if rows is not None and (not isinstance(rows, numbers.Integral) or isinstance(rows, bool) or int(rows) < 1):
        raise ValueError(f"rows must be an integer >= 1 or None, got {rows!r}")


def _opened(reference: Any, distorted: Any, channels_last: bool) -> tuple[Any, Any]:
    """The readers of both images, checked."""
    layout = "(H, W, C) or (H, W)" if channels_last else "(H, W) or (C, H, W)"
    for name, image in (("reference", reference), ("distorted", distorted)):
        if not (hasattr(image, "shape") and hasattr(image, "dtype") and hasattr(image, "__getitem__")):
            raise TypeError(f"{name} must slice like an array and have shape and dtype, got {type(image).__name__}")
        if len(image.shape) not in (2, 3) or 0 in image.shape:
            raise ValueError(f"{name} must have shape {layout}, got {tuple(image.shape)}")
        if isinstance(image, Tensor) and image.device.type != "cpu":
            raise ValueError(f"{name} must be on the CPU, got a tensor on {image.device}")
    shapes = tuple(tuple(image.shape) for image in (reference, distorted))
    if shapes[0] != shapes[1]:
        raise ValueError(f"reference and distorted must have the same shape, got {shapes[0]} and {shapes[1]}")
    if not channels_last and advice.channels_last(shapes[0]):
        raise ValueError(
            f"reference must have shape {layout}, got {shapes[0]}; pass channels_last=True if its channels are last"
        )
    one, other = (
        streamed.rows_of(name, image, channels_last)
        for name, image in (("reference", reference), ("distorted", distorted))
    )
    for image in (one, other):
        if image.source_dtype.is_complex:
            raise TypeError(f"{image.name} must have real values, got {image.source_dtype}")
    if one.source_dtype != other.source_dtype:
        checks.different_dtypes(one.source_dtype, other.source_dtype)
    return one, other


def _warn_if_out_of_range(images: tuple[Any, Any], data_range: float, given: bool) -> None:
    """Warn as of images in memory, from some rows of the images."""
    height = images[0].shape[-2]
    some = [range(k * height // _SAMPLED_ROWS, k * height // _SAMPLED_ROWS + 1) for k in range(_SAMPLED_ROWS)]
    one, other = (torch.cat([image(row.start, row.stop)[0] for row in some]).to(image.source_dtype) for image in images)
    advice.warn_if_out_of_range(one, other, data_range, given)


@contextlib.contextmanager
def _bar(progress: bool) -> Iterator[streamed.Progress]:
    """What counts the rows, with a progress bar or without."""
    if not progress:
        yield streamed.Progress(_ignore, _ignore)
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs a package that is not installed: python -m pip install tqdm") from error
    with tqdm(total=0, unit="rows", desc="MS-SSIM") as bar:
        yield streamed.Progress(functools.partial(_begin, bar), bar.update)


def _begin(bar: Any, rows: int) -> None:
    bar.total += rows  # planes may be computed a second time
    bar.refresh()


def _ignore(rows: int) -> None:
    """Count no rows."""
