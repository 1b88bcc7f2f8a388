"""Image pairs to measure with: ``load(name)`` gives them one by one, each with its data_range and what is known of it.

"golden"
    Gray pairs in exact integer arithmetic from the images inside the scikit-image wheel, verified by SHA-256; Wang's
    MATLAB code was run on exactly these, for values.
"golden-gradients"
    Four more of the same kind, smaller, on which it was run for gradients.
"colour"
    Colour images of the same wheel, distorted by the same recipes.
"kodak"
    The Kodak Lossless True Color Image Suite, compressed, blurred, made noisy and faded at three levels each. Looked
    for in the folder that the environment variable MSSSIM_DATA names.
"synthetic"
    Patterns whose SSIM and MS-SSIM follow from the formulas with pencil and paper.
"""

import importlib

from .pair import DatasetMissing, Pair, Pairs

__all__ = ["DatasetMissing", "Pair", "Pairs", "load", "names"]

# Where each dataset is made; a module is imported when one of its datasets is asked for.
_MODULES = {
    "golden": "embedded",
    "golden-gradients": "embedded",
    "colour": "embedded",
    "kodak": "kodak",
    "synthetic": "synthetic",
}


def names():
    """The names that :func:`load` knows."""
    return tuple(_MODULES)


def load(name):
    """The pairs of a dataset.

    Parameters
    ----------
    name : str
        One of :func:`names`.

    Returns
    -------
    Pairs
        A sequence of :class:`Pair`. Each is made when it is taken, and not kept.

    Raises
    ------
    DatasetMissing
        When the dataset has to be fetched by hand and is not there; says from where, and where to put it.
    """
    if name not in _MODULES:
        raise ValueError(f"name must be one of {', '.join(names())}, got {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name.replace("-", "_"))()
