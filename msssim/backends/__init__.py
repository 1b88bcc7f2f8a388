"""The backends and the choice between them. No kernel is imported here: its package is, when it first computes."""

from . import torch_backend

BACKENDS = ("torch",)


def available_backends():
    """The backends that can be used here, the first choice of ``backend="auto"`` first.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import msssim
    >>> "torch" in msssim.available_backends()
    True
    """
    return BACKENDS


def choose(name, image, maps=False):
    """What computes a call: it has pyramid_means(), and ssim_map() where `maps` asks for it."""
    return torch_backend
