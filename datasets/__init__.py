"""Image pairs to measure with: ``load(name)`` gives them one by one, each with its data_range and what is known of it.

"golden"
    Gray pairs in exact integer arithmetic from the images inside the scikit-image wheel, verified by SHA-256; Wang's
    MATLAB code was run on exactly these, for values.
"golden-gradients"
    Four more of the same kind, smaller, on which it was run for gradients.
"colour"
    Colour images of the same wheel, distorted by the same recipes.
"synthetic"
    Patterns whose SSIM and MS-SSIM follow from the formulas with pencil and paper.
"live", "tid2008", "tid2013", "csiq", "kadid-10k", "a57"
    Databases of distorted images with the opinion of people.
"kodak", "set5", "set14", "bsd100", "urban100", "clic"
    Sets of good images, compressed, blurred, made noisy and faded at three levels each.

Those of the last two kinds are looked for in the folder that the environment variable MSSSIM_DATA names; ``python -m
datasets`` says what is there and gets the others. A part of one will do.
"""

import importlib

from . import registry
from .pair import BrokenImage, DatasetMissing, Pair, Pairs

__all__ = ["BrokenImage", "DatasetMissing", "Pair", "Pairs", "load", "names"]

# Where the datasets that need no download are made; a module is imported when one of its datasets is asked for.
_MADE = {"golden": "embedded", "golden-gradients": "embedded", "colour": "embedded", "synthetic": "synthetic"}


def names():
    """The names that :func:`load` knows."""
    return (*_MADE, *registry.entries())


def made(name):
    """The module that makes a dataset which needs no download."""
    return importlib.import_module(f".{_MADE[name]}", __name__)


def load(name):
    """The pairs of a dataset.

    Parameters
    ----------
    name : str
        One of :func:`names`.

    Returns
    -------
    Pairs
        A sequence of :class:`Pair`. Each is made when it is taken, and not kept; a file that cannot be read raises
        :class:`BrokenImage` then.

    Raises
    ------
    DatasetMissing
        When the dataset has to be fetched by hand and is not there; says from where, and where to put it.
    """
    if name not in names():
        raise ValueError(f"name must be one of {', '.join(names())}, got {name!r}")
    if name in _MADE:
        return getattr(made(name), name.replace("-", "_"))()
    return importlib.import_module(f".{registry.entries()[name].kind}", __name__).load(name)
