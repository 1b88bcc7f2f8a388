"""What a dataset is made of."""

import dataclasses
import importlib
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """Two images to compare, and what is known about them."""

    name: str
    reference: np.ndarray
    """(H, W) or (H, W, 3), uint8 or floating point."""
    distorted: np.ndarray
    """Of the shape and dtype of the reference."""
    data_range: float
    distortion: str
    """What was done to the reference."""
    level: int | None = None
    """How much of it, from 1 (little) up."""
    score: float | None = None
    """What people thought of the distorted image."""
    expected: dict | None = None
    """Values known from the formula: of "ssim", "msssim" (product) and "msssim_wtd_sum", those there are."""


class Pairs(Sequence):
    """A sequence of pairs, each made when it is taken; a slice of it makes none.

    Parameters
    ----------
    makers : dict of str to callable
        For each name of a pair the function without arguments that makes it.
    note : str
        What a reader of results should know about the dataset, as how much of it was there.
    problems : sequence of str
        What is wrong with the files of the dataset and was left out, a line each.
    """

    def __init__(self, makers, note="", problems=()):
        self._makers, self.note, self.problems = dict(makers), note, tuple(problems)

    @property
    def names(self):
        """The names of the pairs, in order."""
        return tuple(self._makers)

    def __len__(self):
        return len(self._makers)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Pairs({name: self._makers[name] for name in self.names[index]}, self.note, self.problems)
        return self._makers[self.names[index]]()


class DatasetMissing(FileNotFoundError):
    """The images of a dataset are not on this machine; the message says where to get them and where to put them."""


class BrokenImage(ValueError):
    """A file of a dataset cannot be used; the message is one line that names it."""


def optional(module, package):
    """Import a module that only some datasets need; if it is missing, say what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this dataset needs {package}: python -m pip install {package}") from error
