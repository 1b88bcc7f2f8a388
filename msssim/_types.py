"""The types of the options."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

BackendName: TypeAlias = Literal["triton", "numba", "torch"]
Backend: TypeAlias = Literal["auto", "triton", "numba", "torch"]
Downsample: TypeAlias = Literal["auto"] | None
LumaStandard: TypeAlias = Literal["matlab", "bt601", "bt709", "ycbcr"]
Method: TypeAlias = Literal["product", "wtd_sum"]
Normalize: TypeAlias = Literal["relu", "simple", "covariance"] | None
Padding: TypeAlias = Literal["valid", "zeros", "reflect", "replicate", "symmetric"]
Reduction: TypeAlias = Literal["mean", "none", "sum"]
Small: TypeAlias = Literal["raise", "fewer"]


class SupportsItem(Protocol):
    """A tensor or array of one element, or a number of NumPy."""

    def item(self) -> Any:
        """Return a number of Python."""


class SupportsToList(Protocol):
    """A tensor or array."""

    def tolist(self) -> Any:
        """Return a list of numbers."""


Scalar: TypeAlias = float | SupportsItem
Weights: TypeAlias = Sequence[float] | SupportsToList


class _Options(TypedDict, total=False):
    data_range: Scalar | None
    win_size: int | SupportsItem
    sigma: Scalar
    K1: Scalar
    K2: Scalar
    reduction: Reduction
    backend: Backend


class SSIMOptions(_Options, total=False):
    """The options of ssim() except `full`, on which the type of its result depends."""

    downsample: Downsample


class MSSSIMOptions(_Options, total=False):
    """The options of msssim() except `scales`, on which the type of its result depends."""

    normalize: Normalize | bool
    weights: Weights
    method: Method
    small: Small
