"""`Peer`: what an implementation offers, how it is called, and how to install it."""

import dataclasses
import functools
import importlib
import importlib.metadata
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .convention import WANG, Convention

if TYPE_CHECKING:
    import torch

Function = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor | float"]
Weights = Sequence[float] | None
Builder = Callable[[str, float, Weights, bool], Function]


@dataclasses.dataclass(frozen=True, eq=False)
class Peer:
    """One implementation."""

    name: str
    package: str
    """Its distribution on PyPI; empty if there is none."""
    module: str
    """The module to import; empty if there is none."""
    description: str
    """One sentence: what it computes, and how that differs from Wang."""
    build: Builder
    """``build(metric, data_range, weights, defaults)`` returns the function of two tensors."""
    conventions: Mapping[str, Convention] = dataclasses.field(default_factory=dict)
    """By metric the convention that it follows, where that is not Wang's."""
    default_conventions: Mapping[str, Convention] = dataclasses.field(default_factory=dict)
    """The same for calls with ``defaults=True``, where that makes a difference."""
    metrics: tuple[str, ...] = ("ssim", "msssim")
    differentiable: bool = True
    """Whether the result is a tensor with a gradient."""
    volumes: bool = False
    """Whether it takes volumes (N, C, D, H, W) too."""
    takes_weights: bool = False
    """Whether MS-SSIM takes weights, and so another number of scales."""
    dtypes: tuple[str, ...] = ("float32", "float64")
    """The dtypes that it accepts; its accuracy may differ between them."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    install: str = ""
    """The command that installs it; by default pip with the name of the package."""
    required_attribute: str = ""
    """An attribute that the module has only in the right distribution, for example "quality.QualitySSIM_compute"."""
    min_version: str = ""
    """The first version (major.minor) that the description holds for."""
    load: Callable[[str], Any] = importlib.import_module

    def __post_init__(self) -> None:
        if self.package and not self.install:
            object.__setattr__(self, "install", f"python -m pip install {self.package}")

    def convention(self, metric: str, defaults: bool = False) -> Convention:
        """Return the convention that a metric follows."""
        closest = self.conventions.get(metric, WANG)
        return self.default_conventions.get(metric, closest) if defaults else closest

    def version(self) -> str:
        """Return the installed version; "formula" for a peer that is implemented here."""
        if not self.package:
            return "formula"
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:  # another distribution of the same module, as for GPUs
            return str(getattr(self._import(), "__version__", "unknown"))

    def unavailable_reason(self) -> str | None:
        """Return why the peer cannot be used here, with the command that installs it, or None if it can be used."""
        try:
            module = self._import()
        except Exception as error:  # an incompatible installation can raise any type of exception
            reason = str(error).strip().partition("\n")[0]
            return f"{self.name} needs {self.package} ({reason or type(error).__name__}): {self.install}"
        if self.min_version and _major_minor(self.version()) < _major_minor(self.min_version):
            return f"{self.name} needs {self.package} >= {self.min_version}, got {self.version()}: {self.install}"
        if self.required_attribute and functools.reduce(_attribute, self.required_attribute.split("."), module) is None:
            return f"{self.name} needs {self.package}, but this {self.module} is from another package: {self.install}"
        if "cpu" not in self.devices:
            import torch

            if not torch.cuda.is_available():
                return f"{self.name} runs on CUDA only, and no CUDA device is available"
        return None

    def function(
        self, metric: str, *, data_range: float = 1.0, weights: Sequence[float] | None = None, defaults: bool = False
    ) -> Function:
        """Return the batch mean of a metric as a function of two tensors.

        Parameters
        ----------
        metric : {"ssim", "msssim"}
        data_range : float, default 1
            The difference between the largest and the smallest possible value.
        weights : sequence of float, optional
            The exponent of each scale, for peers that accept weights.
        defaults : bool, default False
            Leave every setting at its default. A peer that guesses the data range by default then does so; others still
            get `data_range`.

        Returns
        -------
        callable
            ``(img1, img2)``, both (N, C, H, W), to a scalar tensor, or to a float if the peer has no gradient.

        Raises
        ------
        ValueError
            If the peer does not have the metric or does not accept weights.
        ImportError
            If the peer cannot be used here.
        """
        if metric not in self.metrics:
            raise ValueError(f"metric must be one of {', '.join(self.metrics)} for {self.name}, got {metric!r}")
        if weights is not None and (not self.takes_weights or metric != "msssim"):
            raise ValueError(f"weights must be None for {metric} of {self.name}, got {weights!r}")
        reason = self.unavailable_reason()
        if reason:
            raise ImportError(reason)
        return self.build(metric, float(data_range), weights, defaults)

    def _import(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about the package's own dependencies
            return self.load(self.module) if self.module else None


def _major_minor(version: str) -> tuple[int, ...]:
    """Return the major and minor version, also of pre-releases; an empty tuple for "unknown"."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _attribute(owner: Any, name: str) -> Any:
    return getattr(owner, name, None)
