"""ssim() and msssim() as modules. Their options are attributes."""

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from . import checks, foreign, functional
from ._types import (
    Backend,
    Channels,
    Downsample,
    Full,
    Mask,
    MaskMode,
    Method,
    MSSSIMOptions,
    Normalize,
    Padding,
    Reduction,
    Scalar,
    Sigma,
    Small,
    SpatialDims,
    SSIMOptions,
    Weights,
    Window,
    WinSize,
)  # fmt: skip
from .multiscale import WEIGHTS
from .window import WindowOptions

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


class _Metric(nn.Module):
    """A module whose options are attributes, checked when they are set."""

    _names: ClassVar[tuple[str, ...]]

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        if options["unknown"]:
            foreign.refuse(type(self).__name__, options["unknown"])
        for name, value in self._checked({name: options[name] for name in self._names}).items():
            super().__setattr__(name, value)

    @staticmethod
    def _checked(options: dict[str, Any]) -> dict[str, Any]:
        """The options, with tensors and arrays converted to numbers; raises the errors of the function."""
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._names:
            value = self._checked({**self.options, name: value})[name]
        super().__setattr__(name, value)

    @property
    def options(self) -> dict[str, Any]:
        """The current options by name."""
        return {name: getattr(self, name) for name in self._names}

    def _of_call(self, mask: Mask, data_range: Tensor | None) -> dict[str, Any]:
        options = {**self.options, "mask": mask}
        return options if data_range is None else {**options, "data_range": data_range}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())

    if TYPE_CHECKING:

        def __call__(self, img1: Tensor, img2: Tensor, *, mask: Mask = None, data_range: Tensor | None = None) -> Any:
            """Tensor, or several as of the function; nn.Module would accept any arguments."""


def _numbers(data_range: float | None, options: WindowOptions) -> dict[str, Any]:
    """The options that may have been tensors."""
    of_window = {name: getattr(options, name) for name in ("win_size", "sigma", "K1", "K2")}
    return {"data_range": data_range, **of_window}


class SSIM(_Metric):
    """:func:`msssim.ssim` as a module; its options are attributes, which can be changed later.

    Parameters
    ----------
    **options
        Those of :func:`msssim.ssim`, except `mask`, with the same defaults. Tensors and arrays are read once, as
        numbers. An option is checked when it is set, with the errors of the function.

    Notes
    -----
    A call takes ``(img1, img2, *, mask=None, data_range=None)``: the `mask` of the function, and a `data_range` that
    replaces the option in this call, for example a tensor of shape (N,). It returns what the function returns.

    Examples
    --------
    >>> import torch, msssim
    >>> criterion = msssim.SSIM(data_range=2.0)
    >>> image = torch.zeros(1, 3, 32, 32)
    >>> criterion(image, image)
    tensor(1.)
    """

    _names: ClassVar[tuple[str, ...]] = (
        "data_range", "win_size", "sigma", "K1", "K2", "window", "sample_covariance", "padding", "mask_mode",
        "downsample", "spatial_dims", "full", "reduction", "backend",
    )  # fmt: skip

    if TYPE_CHECKING:  # so that type checkers accept a preset, and refuse an unknown option

        def __init__(self, *, full: Full = ..., **options: "Unpack[SSIMOptions]") -> None: ...

    else:

        def __init__(
            self,
            *,
            data_range: Scalar | None = None,
            win_size: WinSize = 11,
            sigma: Sigma | None = None,
            K1: Scalar = 0.01,
            K2: Scalar = 0.03,
            window: Window = "gaussian",
            sample_covariance: bool = False,
            padding: Padding = "valid",
            mask_mode: MaskMode = "normalized",
            downsample: Downsample = None,
            spatial_dims: SpatialDims = 2,
            full: Full = False,
            reduction: Reduction = "mean",
            backend: Backend = "auto",
            **unknown: Any,
        ) -> None:
            super().__init__(locals())

    @staticmethod
    def _checked(options: dict[str, Any]) -> dict[str, Any]:
        checks.full(options.get("full", False))
        checked = checks.ssim_options(**{name: value for name, value in options.items() if name != "full"})
        return options | _numbers(*checked)

    def forward(
        self, img1: Tensor, img2: Tensor, *, mask: Mask = None, data_range: Tensor | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """The result of the function; a `data_range` replaces the option."""
        result: Tensor | tuple[Tensor, ...] = functional.ssim(img1, img2, **self._of_call(mask, data_range))
        return result


class MSSSIM(_Metric):
    """:func:`msssim.msssim` as a module; its options are attributes, which can be changed later.

    The index grows with similarity: a loss is ``1 - criterion(output, target)``, best with ``normalize="covariance"``.

    Parameters
    ----------
    **options
        Those of :func:`msssim.msssim`, except `mask`, with the same defaults. Tensors and arrays are read once, as
        numbers. An option is checked when it is set, with the errors of the function.

    Notes
    -----
    A call takes ``(img1, img2, *, mask=None, data_range=None)``: the `mask` of the function, and a `data_range` that
    replaces the option in this call, for example a tensor of shape (N,). It returns what the function returns.

    Examples
    --------
    >>> import torch, msssim
    >>> criterion = msssim.MSSSIM(normalize="covariance")
    >>> output = torch.full((1, 3, 176, 176), 0.5, requires_grad=True)
    >>> loss = 1 - criterion(output, torch.full((1, 3, 176, 176), 0.25))
    >>> loss.backward()
    >>> bool(output.grad.isfinite().all())
    True
    """

    _names: ClassVar[tuple[str, ...]] = (
        "data_range", "normalize", "weights", "method", "channels", "win_size", "sigma", "K1", "K2", "scales", "full",
        "small", "spatial_dims", "reduction", "backend",
    )  # fmt: skip

    if TYPE_CHECKING:  # so that type checkers accept a preset, and refuse an unknown option

        def __init__(self, *, scales: bool = ..., full: Full = ..., **options: "Unpack[MSSSIMOptions]") -> None: ...

    else:

        def __init__(
            self,
            *,
            data_range: Scalar | None = None,
            normalize: Normalize | bool = None,
            weights: Weights = WEIGHTS,
            method: Method = "product",
            channels: Channels = "mean",
            win_size: WinSize = 11,
            sigma: Sigma = 1.5,
            K1: Scalar = 0.01,
            K2: Scalar = 0.03,
            scales: bool = False,
            full: Full = False,
            small: Small = "raise",
            spatial_dims: SpatialDims = 2,
            reduction: Reduction = "mean",
            backend: Backend = "auto",
            **unknown: Any,
        ) -> None:
            super().__init__(locals())

    @staticmethod
    def _checked(options: dict[str, Any]) -> dict[str, Any]:
        checks.full(options.get("full", False))
        outputs = "scales", "full"
        weights, checked = checks.msssim_options(**{key: value for key, value in options.items() if key not in outputs})
        return options | _numbers(*checked) | {"weights": weights}

    def forward(
        self, img1: Tensor, img2: Tensor, *, mask: Mask = None, data_range: Tensor | None = None
    ) -> Tensor | tuple[Any, ...]:
        """The result of the function; a `data_range` replaces the option."""
        result: Tensor | tuple[Any, ...] = functional.msssim(img1, img2, **self._of_call(mask, data_range))
        return result
