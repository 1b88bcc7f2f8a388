"""A stand-in for a GPU that is not there: Triton compiles for it, and ptx.py runs what came of that, on the CPU."""

import contextlib
import threading
import typing
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import CompiledKernel

from msssim import backends
from msssim.backends import ops
from msssim.backends.triton import api, kernels

from . import gpus


class Driver:
    """As much of a driver as Triton asks for where it compiles."""

    def __init__(self, capability):
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self):
        """The GPU to compile for."""
        return self.target

    def get_current_device(self):
        """A number for it: what is compiled is kept for each device."""
        return self.target.arch

    def get_current_stream(self, device):
        """There are no others."""
        return 0


@contextlib.contextmanager
def compiling_for(capability):
    """Let Triton compile for GPUs of this capability."""
    triton.runtime.driver.set_active(Driver(capability))
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # where there is no other
            triton.runtime.driver.reset_active()


@contextlib.contextmanager
def launching(capability, launch):
    """Compile for GPUs of this capability, and call launch(kernel, grid, arguments) in the place of any launch."""

    def prepare(self):
        def run(*arguments):  # after the grid come the stream, the function and what profilers ask
            launch(self, arguments[:3], arguments[9:])

        self.module = self.function = run
        setattr(self, "_run" if hasattr(type(self), "run") else "run", run)  # by the version of Triton

    if not isinstance(kernels.sweep, triton.JITFunction):
        raise RuntimeError("kernels are interpreted in this process: TRITON_INTERPRET was set when they were imported")
    forget()
    try:
        with compiling_for(capability), mock.patch.object(CompiledKernel, "_init_handles", prepare):
            yield
    finally:
        forget()


def forget():
    """Let calls be planned anew: what is planned is kept for a device."""
    for remembered in (api._call, api._plan, api._pool, api._spread):
        getattr(remembered, "cache_clear", lambda: None)()  # a test may have put another in its place


class Launch(typing.NamedTuple):
    """What was launched, and what came of it."""

    name: str
    grid: tuple
    arguments: tuple
    """In the place of a tensor its shape."""
    torn: int
    """How often was read what another thread may not have written yet."""


_kernels, _lock = {}, threading.Lock()  # by Triton's hash


@contextlib.contextmanager
def standing_in(capability, *, lot=1, watched=True):
    """Let ``backend="triton"`` compute on the CPU what a GPU of this capability would.

    Parameters
    ----------
    capability : int
        Compute capability of the GPU, 90 for sm_90; any of gpus.PROCESSORS.
    lot, watched
        As of :class:`ptx.Kernel`.

    Yields
    ------
    list of Launch
        All launches so far.
    """
    from . import ptx

    launches = []

    def launch(compiled, grid, arguments):
        with _lock:
            if compiled.hash not in _kernels:
                _kernels[compiled.hash] = ptx.Kernel(compiled)
        torn = _kernels[compiled.hash](grid, arguments, lot=lot, watched=watched)
        arguments = tuple(tuple(each.shape) if isinstance(each, torch.Tensor) else each for each in arguments)
        launches.append(Launch(compiled.name, grid, arguments, torn))

    with (
        launching(capability, launch),
        mock.patch.object(api, "_processors", lambda device: gpus.PROCESSORS[capability]),
        on_the_cpu(),
    ):
        yield launches


@contextlib.contextmanager
def on_the_cpu():
    """Let ``backend="triton"`` take images on the CPU; who runs the kernels is for others to say."""
    with (
        mock.patch.dict(ops._MODULES, cpu=".triton.api"),
        mock.patch.dict(backends._DEVICES, triton=("cpu", "the CPU, in the place of a GPU")),
    ):
        ops._kernels.cache_clear()
        try:
            yield
        finally:
            ops._kernels.cache_clear()
