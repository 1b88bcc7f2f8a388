"""The types of the options."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

from torch import Tensor

BackendName: TypeAlias = Literal["triton", "numba", "torch"]
Backend: TypeAlias = Literal["auto", "triton", "numba", "torch"]
Channels: TypeAlias = Literal["mean", "pooled"]
Downsample: TypeAlias = Literal["auto"] | None
LumaStandard: TypeAlias = Literal["matlab", "bt601", "bt709", "ycbcr"]
Full: TypeAlias = bool | Literal["weights"]
Mask: TypeAlias = Tensor | Literal["finite"] | None
MaskMode: TypeAlias = Literal["normalized", "inside"]
Method: TypeAlias = Literal["product", "wtd_sum"]
Normalize: TypeAlias = Literal["relu", "simple", "covariance"] | None
Padding: TypeAlias = Literal["valid", "zeros", "reflect", "replicate", "symmetric"]
Reduction: TypeAlias = Literal["mean", "none", "sum"]
Small: TypeAlias = Literal["raise", "fewer"]
SpatialDims: TypeAlias = Literal[1, 2, 3]
Window: TypeAlias = Literal["gaussian", "uniform"]


class SupportsItem(Protocol):
    """A tensor or array of one element, or a number of NumPy."""

    def item(self) -> Any:
        """Return a number of Python."""


class SupportsToList(Protocol):
    """A tensor or array."""

    def tolist(self) -> Any:
        """Return a list of numbers."""


Scalar: TypeAlias = float | SupportsItem
WinSize: TypeAlias = int | SupportsItem | Sequence[int]
Sigma: TypeAlias = Scalar | Sequence[float]
Weights: TypeAlias = Sequence[float] | SupportsToList


class _Options(TypedDict, total=False):
    data_range: Scalar | None
    win_size: WinSize
    K1: Scalar
    K2: Scalar
    spatial_dims: SpatialDims
    reduction: Reduction
    backend: Backend


class SSIMOptions(_Options, total=False):
    """The options of ssim() except `full`, on which the type of its result depends."""

    sigma: Sigma | None
    window: Window
    sample_covariance: bool
    padding: Padding
    mask_mode: MaskMode
    downsample: Downsample


class MSSSIMOptions(_Options, total=False):
    """The options of msssim() except `scales` and `full`, on which the type of its result depends."""

    sigma: Sigma
    channels: Channels
    normalize: Normalize | bool
    weights: Weights
    method: Method
    small: Small


class SSIMCallOptions(SSIMOptions, total=False):
    """The options of one call of ssim(), with those that a module takes in each call."""

    mask: Mask


class MSSSIMCallOptions(MSSSIMOptions, total=False):
    """The options of one call of msssim(), with those that a module takes in each call."""

    mask: Mask


class StreamOptions(TypedDict, total=False):
    """The options of stream() except `scales`, on which the type of its result depends."""

    data_range: Scalar | None
    normalize: Normalize | bool
    weights: Weights
    method: Method
    channels: Channels
    win_size: int | SupportsItem
    sigma: Scalar
    K1: Scalar
    K2: Scalar
    small: Small
    channels_last: bool
    rows: int | None
    progress: bool
