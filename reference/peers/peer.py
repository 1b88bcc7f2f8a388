"""What is known of an implementation, and how it is called."""

import dataclasses
import functools
import importlib
import importlib.metadata
import re
import warnings
from collections.abc import Callable, Mapping

from .convention import WANG


@dataclasses.dataclass(frozen=True, eq=False)
class Peer:
    """One implementation: what it offers, by what convention, and how to get it."""

    name: str
    package: str
    """Its distribution on PyPI; empty where there is none."""
    module: str
    """What is imported to see whether it is there; empty where nothing has to be."""
    convention: str
    """One sentence: what it computes, and where that differs from Wang."""
    build: Callable
    """``build(metric, data_range, weights, defaults)`` makes the function of two tensors."""
    conventions: Mapping = dataclasses.field(default_factory=dict)
    """By metric the decisions that are not Wang's, as a Convention."""
    by_default: Mapping = dataclasses.field(default_factory=dict)
    """The same for calls with ``defaults=True``, where that makes a difference."""
    metrics: tuple[str, ...] = ("ssim", "msssim")
    differentiable: bool = True
    """Whether the result is a tensor that gradients go through."""
    weights: bool = False
    """Whether MS-SSIM takes weights, and so another number of scales."""
    dtypes: tuple[str, ...] = ("float32", "float64")
    """What images may be; the result is not promised to be any good."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    install: str = ""
    """The command that installs it; by default pip with the name of the package."""
    needs: str = ""
    """What the module has only in the right distribution: an attribute, or one of an attribute, after a dot."""
    at_least: str = ""
    """The first version, major and minor, that computes what is said here."""
    load: Callable = importlib.import_module

    def __post_init__(self):
        if self.package and not self.install:
            object.__setattr__(self, "install", f"python -m pip install {self.package}")

    def decisions(self, metric, defaults=False):
        """The Convention that a metric is computed by."""
        closest = self.conventions.get(metric, WANG)
        return self.by_default.get(metric, closest) if defaults else closest

    def version(self):
        """The version that is installed; "formula" for what is written down here."""
        if not self.package:
            return "formula"
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:  # another distribution of the same module, as for GPUs
            return getattr(self._import(), "__version__", "unknown")

    def obstacle(self):
        """None, or the reason why it cannot be used here, with the command that installs it."""
        try:
            module = self._import()
        except Exception as error:  # an installation that does not fit its surroundings raises whatever it likes
            reason = str(error).strip().partition("\n")[0]
            return f"{self.name} needs {self.package} ({reason or type(error).__name__}): {self.install}"
        if self.at_least and _numbers(self.version()) < _numbers(self.at_least):
            return f"{self.name} needs {self.package} {self.at_least}, and this is {self.version()}: {self.install}"
        if self.needs and functools.reduce(_attribute, self.needs.split("."), module) is None:
            return f"{self.name} needs {self.package}, and this {self.module} is another build: {self.install}"
        if "cpu" not in self.devices:
            import torch

            if not torch.cuda.is_available():
                return f"{self.name} runs on GPUs alone, and torch finds none"
        return None

    def function(self, metric, *, data_range=1.0, weights=None, defaults=False):
        """The mean of a metric as a function of two tensors.

        Parameters
        ----------
        metric : {"ssim", "msssim"}
        data_range : float, default 1
            The distance between the least and the largest value that images can have.
        weights : sequence of float, optional
            The exponent of each scale, for peers that take them.
        defaults : bool, default False
            Leave every setting as it is out of the box, so that a peer that guesses the range of the images does;
            others are told `data_range` all the same.

        Returns
        -------
        callable
            ``(img1, img2)`` of (N, C, H, W) to a tensor of no dimensions, or to a float where the peer has no gradient.
        """
        if metric not in self.metrics:
            raise ValueError(f"metric must be one of {', '.join(self.metrics)} for {self.name}, got {metric!r}")
        if weights is not None and (not self.weights or metric != "msssim"):
            raise ValueError(f"weights: {self.name} takes none for {metric}, got {weights!r}")
        obstacle = self.obstacle()
        if obstacle:
            raise ImportError(obstacle)
        return self.build(metric, float(data_range), weights, defaults)

    def _import(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, about their own dependencies
            return self.load(self.module) if self.module else None


def _numbers(version):
    """Major and minor, of a release or of what comes before one; nothing of what tells no version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _attribute(owner, name):
    return getattr(owner, name, None)
