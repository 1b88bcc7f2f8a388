"""How much is measured: --quick, the default, and --full."""

from collections.abc import Iterator
from typing import NamedTuple

from .cases import FORWARD, FORWARD_BACKWARD, METRICS, MODES, START_SHAPE, Case, Shape


class Rounds(NamedTuple):
    """The number of rounds that an implementation takes part in."""

    minimum: int
    maximum: int


class Work(NamedTuple):
    """A metric, a mode and a shape, in float32."""

    metric: str
    mode: str
    shape: Shape


class Preset(NamedTuple):
    """How much is measured."""

    shapes: dict[str, tuple[Shape, ...]]
    """The float32 shapes of each metric."""
    other_dtypes: tuple[tuple[str, Shape], ...]
    """(dtype, shape) of the cases in other dtypes."""
    compiled: tuple[Shape, ...]
    """The shapes that are also measured under torch.compile."""
    compile_torch_backend: bool
    """Whether our PyTorch backend is compiled; it takes longest to compile, more than a minute."""
    memory: tuple[Work, ...]
    """Peak memory; each runs in a new process, which also gives a cold start."""
    scaling: tuple[Shape, ...]
    """The shapes that are measured with different numbers of threads."""
    seconds: float
    """Time per case without warm-up; the minimum number of rounds may take longer."""
    rounds: Rounds
    max_call_seconds: float
    """An implementation with slower calls is skipped. The limit is lower when the total time runs short."""
    first_call_ever: bool
    """Whether the first call without any compiled code on disk is measured."""
    total_seconds: float
    """Planned total time. If it runs short, cases get fewer rounds and slow implementations are skipped."""
    cuda_shapes: dict[str, tuple[Shape, ...]]
    """`shapes` on CUDA."""
    cuda_compiled: tuple[Work, ...]
    """What is measured under torch.compile on CUDA."""

    def compiles(self, case: Case) -> bool:
        """Return whether a case is measured under torch.compile."""
        if case.dtype != "float32":
            return False
        if case.device_type == "cuda":
            return Work(case.metric, case.mode, case.shape) in self.cuda_compiled
        return case.shape in self.compiled

    def cases(self, device: str) -> list[Case]:
        """Return the cases for a device, small ones first."""
        by_metric = self.cuda_shapes if Case("", "", (), device=device).device_type == "cuda" else self.shapes
        found = [
            Case(metric, mode, shape, "float32", device)
            for metric in METRICS
            for shape in by_metric[metric]
            for mode in MODES
        ]
        for dtype, shape in self.other_dtypes:
            modes = (FORWARD,) if dtype == "uint8" else MODES
            found += [Case(metric, mode, shape, dtype, device) for metric in METRICS for mode in modes]
        return sorted(found, key=lambda case: case.n_values)


def _squares(*sides: int) -> tuple[Shape, ...]:
    return tuple((1, 3, side, side) for side in sides)


def _all_work(shapes: tuple[Shape, ...]) -> Iterator[Work]:
    return (Work(metric, mode, shape) for shape in shapes for metric in METRICS for mode in MODES)


_HD, _BATCH, _HUGE = (1, 3, 1080, 1920), (8, 3, 256, 256), (1, 1, 4096, 4096)
_SMALL, _USUAL = (1, 3, 64, 64), (1, 3, 512, 512)
_DEFAULT: tuple[Shape, ...] = (_SMALL, *_squares(256, 512), _BATCH, _HD, _HUGE)
_FULL: tuple[Shape, ...] = (
    *_squares(64, 128, 256, 512, 1024), _HD, *_squares(2048, 4096), _HUGE,
    *((batch, 3, 256, 256) for batch in (2, 4, 8, 16, 32)),
)  # fmt: skip
_CUDA: tuple[Shape, ...] = (*_DEFAULT, (8, 3, 1080, 1920))
_FIVE: Shape = (5, 5, 1080, 1920)  # that the author of fused-ssim times
_CUDA_USUAL: tuple[Shape, ...] = (_USUAL, _CUDA[-1])
_OTHER_DTYPES = ("float64", "bfloat16", "float16", "uint8")
_MSSSIM_MEMORY = (Work("msssim", FORWARD_BACKWARD, _USUAL),)

PRESETS = {
    "quick": Preset(
        shapes={"ssim": (_SMALL, _USUAL), "msssim": _squares(256, 512)},
        other_dtypes=(("uint8", _USUAL),),
        compiled=(),
        compile_torch_backend=False,
        memory=_MSSSIM_MEMORY,
        scaling=(_USUAL,),
        seconds=0.5,
        rounds=Rounds(5, 30),
        max_call_seconds=0.4,
        first_call_ever=False,
        total_seconds=60,
        cuda_shapes={"ssim": (*_CUDA_USUAL, _FIVE), "msssim": _CUDA_USUAL},
        cuda_compiled=tuple(Work("msssim", FORWARD_BACKWARD, shape) for shape in _CUDA_USUAL),
    ),
    "default": Preset(
        shapes={"ssim": _DEFAULT[:-1], "msssim": _DEFAULT},
        other_dtypes=(("bfloat16", _USUAL), ("uint8", _USUAL)),
        compiled=(_USUAL,),
        compile_torch_backend=False,
        memory=_MSSSIM_MEMORY,
        scaling=(_USUAL,),
        seconds=2.0,
        rounds=Rounds(4, 100),
        max_call_seconds=1.2,
        first_call_ever=True,
        total_seconds=500,  # less than the documented ten minutes, because the plan is not exact
        cuda_shapes={"ssim": (*_CUDA, _FIVE), "msssim": _CUDA},
        cuda_compiled=tuple(Work("msssim", mode, shape) for mode in MODES for shape in _CUDA_USUAL),
    ),
    "full": Preset(
        shapes=dict.fromkeys(METRICS, _FULL),
        other_dtypes=tuple((dtype, shape) for dtype in _OTHER_DTYPES for shape in (_USUAL, _HD)),
        compiled=(*_squares(256, 512), _BATCH, _HD, _HUGE),
        compile_torch_backend=True,
        memory=tuple(_all_work((_USUAL, _HD, _HUGE))),
        scaling=(_USUAL, _BATCH, _HD, _HUGE),
        seconds=20.0,
        rounds=Rounds(10, 200),
        max_call_seconds=60.0,
        first_call_ever=True,
        total_seconds=4 * 3600,
        cuda_shapes={"ssim": (*_FULL, _CUDA[-1], _FIVE), "msssim": (*_FULL, _CUDA[-1])},
        cuda_compiled=tuple(_all_work(_CUDA)),
    ),
}


def first_call_case(device: str) -> Case:
    """Return the case of the first call ever."""
    return Case("msssim", FORWARD_BACKWARD, START_SHAPE, "float32", device)
