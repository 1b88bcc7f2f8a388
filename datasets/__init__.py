"""Image pairs for testing and benchmarking: ``load(name)`` returns a sequence of :class:`Pair`.

"golden"
    Gray pairs made in integer arithmetic from images in the scikit-image wheel and verified by SHA-256. The golden
    values were computed on these pairs with Wang's MATLAB code.
"golden-gradients"
    Four smaller pairs of the same kind, for the golden gradients.
"colour"
    Colour images of the same wheel with the same distortions.
"synthetic"
    Patterns whose SSIM and MS-SSIM have a closed form.
"graphics"
    Text, two-level graphics, letterboxes, black areas and images with negative values.
"live", "tid2008", "tid2013", "csiq", "kadid-10k", "a57"
    Image-quality databases: distorted images with subjective scores (MOS or DMOS).
"kodak", "set5", "set14", "bsd100", "urban100", "clic"
    Sets of undistorted images. Each image is compressed, blurred, made noisy and reduced in contrast at three levels.

The last two groups must be downloaded. They are read from the folder that the environment variable MSSSIM_DATA names.
``python -m datasets`` lists what is available and downloads the rest. An incomplete download works: `load` returns the
pairs whose files exist.
"""

import importlib
from types import ModuleType

from . import registry
from .pair import BrokenImage, DatasetMissing, Pair, Pairs

__all__ = ["BrokenImage", "DatasetMissing", "Pair", "Pairs", "load", "names"]

# The module that generates each dataset that needs no download. It is imported when one of its datasets is loaded.
_GENERATED = {
    "golden": "embedded",
    "golden-gradients": "embedded",
    "colour": "embedded",
    "synthetic": "synthetic",
    "graphics": "graphics",
}


def names() -> tuple[str, ...]:
    """Return the names that :func:`load` accepts."""
    return (*_GENERATED, *registry.entries())


def generator(name: str) -> ModuleType:
    """Return the module that generates a dataset which needs no download."""
    return importlib.import_module(f".{_GENERATED[name]}", __name__)


def load(name: str) -> Pairs:
    """Load the pairs of a dataset.

    Parameters
    ----------
    name : str
        One of :func:`names`.

    Returns
    -------
    Pairs
        A lazy sequence of :class:`Pair`: a pair is made on access and not cached. Accessing a pair whose file cannot be
        read raises :class:`BrokenImage`.

    Raises
    ------
    DatasetMissing
        If the dataset has to be downloaded and is not in the data folder. The message says how to get it.
    """
    if name not in names():
        raise ValueError(f"name must be one of {', '.join(names())}, got {name!r}")
    pairs: Pairs
    if name in _GENERATED:
        pairs = getattr(generator(name), name.replace("-", "_"))()
    else:
        pairs = importlib.import_module(f".{registry.entries()[name].kind}", __name__).load(name)
    return pairs
