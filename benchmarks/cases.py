"""What is measured: metric, pass, shape, dtype and device; the images; and how much of it each mode takes."""

import fnmatch
import functools
from typing import NamedTuple

import numpy as np
import torch

METRICS = ("ssim", "msssim")
FORWARD, BOTH = "forward", "forward+backward"
PASSES = (FORWARD, BOTH)
LARGEST_LEVELS, WIN_SIZE = 5, 11
_DISTINCT = 1 << 24  # pixels of a batch, about, after which its images come again


class Case(NamedTuple):
    """One question: how long this takes."""

    metric: str
    mode: str
    """FORWARD without a gradient, or BOTH: with the gradient to the first image."""
    shape: tuple
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def name(self):
        """What --only looks at."""
        return f"{self.metric} {self.mode} {size(self.shape)} {self.dtype} {self.device}"

    @property
    def pixels(self):
        """Of one image, all channels and the whole batch."""
        return int(np.prod(self.shape))

    @property
    def data_range(self):
        """255 for whole numbers, else 1."""
        return 255.0 if self.dtype == "uint8" else 1.0

    @property
    def levels(self):
        """Scales of MS-SSIM: five, or on small images as many as fit; SSIM has one."""
        return 1 if self.metric == "ssim" else fitting_levels(self.shape)


class Mode(NamedTuple):
    """How much is measured."""

    shapes: dict
    """For each metric, the shapes in float32."""
    narrow: tuple
    """(dtype, shape) of what is measured in other dtypes."""
    compiled: tuple
    """Shapes at which torch.compile takes part."""
    plain_compiled: bool
    """Whether our plain backend does: of all it takes longest to compile, a minute and more."""
    memory: tuple
    """(metric, pass, shape) of the peak of memory, each in a new process of its own, which gives a cold start too."""
    scaling: tuple
    """Shapes at which the number of threads is varied."""
    seconds: float
    """For each case, beside warming up; least rounds may take longer."""
    rounds: tuple
    """Least and most."""
    limit: float
    """A contestant whose single call takes more than so many seconds is left out; sooner where time is short."""
    first_ever: bool
    """Whether the first call with nothing cached on disk is measured."""
    total: float
    """What all of it is planned to take, in seconds: when time gets short, cases get fewer rounds and contestants."""
    cuda_shapes: dict
    """For each metric, the shapes in float32 on CUDA, in place of `shapes`."""
    cuda_compiled: tuple
    """(metric, pass, shape) at which torch.compile takes part on CUDA, in place of `compiled`."""

    def compiles(self, case):
        """Whether torch.compile takes part in a case."""
        if case.dtype != "float32":
            return False
        if _on_cuda(case.device):
            return (case.metric, case.mode, case.shape) in self.cuda_compiled
        return case.shape in self.compiled


def _squares(sides, channels=3):
    return tuple((1, channels, side, side) for side in sides)


_HD, _BATCH, _HUGE = (1, 3, 1080, 1920), (8, 3, 256, 256), (1, 1, 4096, 4096)
_SMALL, START, _USUAL = (1, 3, 64, 64), (1, 3, 256, 256), (1, 3, 512, 512)
_DEFAULT = (_SMALL, *_squares((256, 512)), _BATCH, _HD, _HUGE)
_FULL = (
    *_squares((64, 128, 256, 512, 1024)), _HD, *_squares((2048, 4096)), _HUGE,
    *((batch, 3, 256, 256) for batch in (2, 4, 8, 16, 32)),
)  # fmt: skip
_ON_CUDA = (*_DEFAULT, (8, 3, 1080, 1920))
_CUDA_USUAL = (_USUAL, _ON_CUDA[-1])
_OTHER_DTYPES = ("float64", "bfloat16", "float16", "uint8")

MODES = {
    "quick": Mode(
        shapes={"ssim": (_SMALL, _USUAL), "msssim": _squares((256, 512))},
        narrow=(("uint8", _USUAL),),
        compiled=(),
        plain_compiled=False,
        memory=(("msssim", BOTH, _USUAL),),
        scaling=(_USUAL,),
        seconds=0.5,
        rounds=(5, 30),
        limit=0.4,
        first_ever=False,
        total=60,
        cuda_shapes=dict.fromkeys(METRICS, _CUDA_USUAL),
        cuda_compiled=tuple(("msssim", BOTH, shape) for shape in _CUDA_USUAL),
    ),
    "default": Mode(
        shapes={"ssim": _DEFAULT[:-1], "msssim": _DEFAULT},
        narrow=(("bfloat16", _USUAL), ("uint8", _USUAL)),
        compiled=(_USUAL,),
        plain_compiled=False,
        memory=(("msssim", BOTH, _USUAL),),
        scaling=(_USUAL,),
        seconds=2.0,
        rounds=(4, 100),
        limit=1.2,
        first_ever=True,
        total=500,  # of the ten minutes that are promised: the plan errs by some
        cuda_shapes=dict.fromkeys(METRICS, _ON_CUDA),
        cuda_compiled=tuple(("msssim", step, shape) for step in PASSES for shape in _CUDA_USUAL),
    ),
    "full": Mode(
        shapes=dict.fromkeys(METRICS, _FULL),
        narrow=tuple((dtype, shape) for dtype in _OTHER_DTYPES for shape in (_USUAL, _HD)),
        compiled=(*_squares((256, 512)), _BATCH, _HD, _HUGE),
        plain_compiled=True,
        memory=tuple((metric, step, shape) for shape in (_USUAL, _HD, _HUGE) for metric in METRICS for step in PASSES),
        scaling=(_USUAL, _BATCH, _HD, _HUGE),
        seconds=20.0,
        rounds=(10, 200),
        limit=60.0,
        first_ever=True,
        total=4 * 3600,
        cuda_shapes=dict.fromkeys(METRICS, (*_FULL, _ON_CUDA[-1])),
        cuda_compiled=tuple((metric, step, shape) for metric in METRICS for step in PASSES for shape in _ON_CUDA),
    ),
}


def cases(mode, device):
    """The cases of a mode on a device, the small ones first."""
    shapes = mode.cuda_shapes if _on_cuda(device) else mode.shapes
    found = [
        Case(metric, step, shape, "float32", device)
        for metric in METRICS
        for shape in shapes[metric]
        for step in PASSES
    ]
    for dtype, shape in mode.narrow:
        steps = (FORWARD,) if dtype == "uint8" else PASSES
        found += [Case(metric, step, shape, dtype, device) for metric in METRICS for step in steps]
    return sorted(found, key=lambda case: case.pixels)


def _on_cuda(device):
    return torch.device(device).type == "cuda"


def chosen(name, patterns):
    """Whether a piece of work is wanted: any pattern found in its name, or no pattern at all. ``*`` stands for all."""
    return not patterns or any(fnmatch.fnmatch(name.lower(), f"*{pattern.lower()}*") for pattern in patterns)


def size(shape):
    """1x3x512x512."""
    return "x".join(map(str, shape))


def fitting_levels(shape):
    """How many scales, of five, the shorter side holds."""
    side, levels = min(shape[-2:]), 1
    while levels < LARGEST_LEVELS and side >= WIN_SIZE * 2**levels:
        levels += 1
    return levels


def distinct(shape):
    """How many images of a batch differ; the batch is some number of times these."""
    return next(
        n for n in range(min(shape[0], max(1, _DISTINCT // int(np.prod(shape[1:])))), 0, -1) if shape[0] % n == 0
    )


@functools.lru_cache(maxsize=2)
def arrays(shape, whole):
    """The two images as NumPy arrays, whole numbers in 0..255 or (exact in bfloat16 too) 256ths in [0, 1).

    A pattern with fine detail, and in its lower third a flat bright area, where float32 rounds worst. In a large batch
    the first distinct() images come again, lest the oracle take longer than what it is for.
    """
    whole_shape, shape = shape, (distinct(shape), *shape[1:])
    random = np.random.default_rng(0)
    height, width = shape[-2:]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    pattern = 120 + 70 * np.sin(rows / 17) * np.cos(columns / 23) + 30 * np.sin(columns * rows / (40 * width))
    pattern = pattern + random.integers(-20, 21, shape, dtype=np.int16)
    pattern[..., 2 * height // 3 :, : width // 2] = 230
    changed = 0.9 * pattern + 12
    changed[..., : height // 2, :] += random.integers(-12, 13, (*shape[:-2], height // 2, width), dtype=np.int16)
    images = tuple(np.clip(np.floor(image), 0, 255).astype(np.uint8) for image in (pattern, changed))
    images = tuple(np.resize(image, whole_shape) for image in images)
    return images if whole else tuple(np.divide(image, 256, dtype=np.float32) for image in images)


def images(case):
    """The two images of a case on its device."""
    return tuple(
        torch.from_numpy(array).to(case.device, getattr(torch, case.dtype))
        for array in arrays(case.shape, case.dtype == "uint8")
    )
