"""Shared by the benchmark tests: a tiny preset, and artificial implementations."""

import time

from benchmarks import cases, implementations
from benchmarks.implementations import OURS, PEER, Implementation
from benchmarks.presets import PRESETS, Rounds

SHAPE = (1, 1, 48, 40)
TINY = PRESETS["quick"]._replace(
    shapes={"ssim": (SHAPE,), "msssim": ((2, 1, 64, 56),)},
    other_dtypes=(("uint8", SHAPE),),
    memory=(),
    scaling=(SHAPE,),
    seconds=0.01,
    rounds=Rounds(3, 3),
)
CASE = cases.Case("ssim", cases.FORWARD_BACKWARD, SHAPE)
SLOW = 0.06


def make_implementation(name, group=PEER, wrong_by=0.0, pause=0.0, error=None, **fields):
    """Return the PyTorch backend under another name, made wrong, slow or failing."""

    def build(metric, data_range):
        function = implementations.by_name("msssim torch").build(metric, data_range)

        def call(x, y):
            if error is not None:
                raise error
            time.sleep(pause)
            return function(x, y) + wrong_by

        return call

    return Implementation(name=name, group=group, build=build, **fields)


IMPLEMENTATIONS = (
    make_implementation("msssim torch", OURS),
    make_implementation("msssim wrong", OURS, wrong_by=1e-3),
    make_implementation("msssim nan", OURS, wrong_by=float("nan")),
    make_implementation("msssim refusing", OURS, error=ValueError('backend="numba" supports nothing')),
    make_implementation("msssim failing", OURS, error=RuntimeError("something else")),
    make_implementation("slow", pause=SLOW),
    make_implementation("deviating", wrong_by=1e-3),
    make_implementation("nan", wrong_by=float("nan")),
    make_implementation("refusing", error=TypeError("too small\nand more")),
    make_implementation("missing", unavailable_reason="missing needs missing: python -m pip install missing"),
    make_implementation("ssim only", metrics=("ssim",), differentiable=False, dtypes=("float32",)),
)
