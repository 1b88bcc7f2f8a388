"""The types that every dataset consists of."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A reference image, a distorted image, and what is known about them."""

    name: str
    reference: np.ndarray
    """(H, W) or (H, W, 3), uint8 or floating point."""
    distorted: np.ndarray
    """Same shape and dtype as the reference."""
    data_range: float
    distortion: str
    """The type of distortion."""
    level: int | None = None
    """The strength of the distortion; 1 is the weakest."""
    score: float | None = None
    """The subjective score (MOS or DMOS) of the distorted image."""
    expected: dict[str, float] | None = None
    """Exact values where a closed form exists, by "ssim", "msssim" (product) and "msssim_wtd_sum"."""


class Pairs(Sequence[Pair]):
    """A lazy sequence of pairs: each pair is made on access. Slicing makes no pair.

    Parameters
    ----------
    makers : mapping of str to callable
        For each pair name a function without arguments that makes the pair.
    note : str
        What a report should say about the dataset, for example how much of it is available.
    problems : sequence of str
        One line for each file that cannot be used and was left out.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Pair]], note: str = "", problems: Sequence[str] = ()) -> None:
        self._makers = dict(makers)
        self.note = note
        self.problems = tuple(problems)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the pairs, in order."""
        return tuple(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "Pairs": ...
    def __getitem__(self, index: int | slice) -> "Pair | Pairs":
        if isinstance(index, slice):
            return Pairs({name: self._makers[name] for name in self.names[index]}, self.note, self.problems)
        return self._makers[self.names[index]]()


class DatasetMissing(FileNotFoundError):
    """A dataset is not in the data folder. The message says where to get it and where to put it."""


class BrokenImage(ValueError):
    """A file of a dataset cannot be used. The message is one line that names the file."""


def optional(module: str, package: str) -> Any:
    """Import a module that only some datasets need. If it is missing, the error says which package to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this dataset needs {package}: python -m pip install {package}") from error
