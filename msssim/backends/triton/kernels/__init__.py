"""The kernels, in Triton's language.

``sweep`` and ``downsample`` compute the sums of every scale, ``finish_means`` the terms, ``pool`` the value, and
``pyramid_backward`` the gradient of an image. README.md, one folder above, explains how they work.
"""

from .backward import pyramid_backward
from .forward import finish_means, sweep
from .pooling import pool
from .pyramid import downsample

__all__ = ["downsample", "finish_means", "pool", "pyramid_backward", "sweep"]
