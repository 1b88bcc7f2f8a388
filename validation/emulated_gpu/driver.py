"""A driver for a GPU that does not exist: Triton compiles for it, and ptx.py executes the result on the CPU."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import CompiledKernel

from msssim import backends
from msssim.backends import ops
from msssim.backends.triton import kernels, launches, plan

from . import gpus


class Driver:
    """The part of a driver that Triton needs to compile."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        """The GPU to compile for."""
        return self.target

    def get_current_device(self) -> int:
        """A number for it: Triton caches compiled kernels by device."""
        arch: int = self.target.arch
        return arch

    def get_current_stream(self, device: int) -> int:
        """The default stream: there are no others."""
        return 0


@contextlib.contextmanager
def compiling_for(capability: int) -> Iterator[None]:
    """Let Triton compile for GPUs of this capability."""
    triton.runtime.driver.set_active(Driver(capability))
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # where there is no other driver
            triton.runtime.driver.reset_active()


@contextlib.contextmanager
def launching(
    capability: int, launch: Callable[[CompiledKernel, tuple[int, ...], tuple[Any, ...]], None]
) -> Iterator[None]:
    """Compile for GPUs of this capability, and call launch(kernel, grid, arguments) in place of any launch."""

    def init_handles(self: CompiledKernel) -> None:
        def run(*arguments: Any) -> None:  # between them: stream, function, and arguments of profilers
            launch(self, arguments[:3], arguments[9:])

        self.module = self.function = run
        setattr(self, "_run" if hasattr(type(self), "run") else "run", run)  # depends on the version of Triton

    if not isinstance(kernels.sweep, triton.JITFunction):
        raise RuntimeError("this process interprets kernels: TRITON_INTERPRET was set when they were imported")
    clear_caches()
    try:
        with compiling_for(capability), mock.patch.object(CompiledKernel, "_init_handles", init_handles):
            yield
    finally:
        clear_caches()


def clear_caches() -> None:
    """Drop all prepared launches: they are for one device."""
    prepared = launches.terms_call, plan.choose_plan, launches.pool_launch, launches.backward_launch
    for cached in (*prepared, launches.constants_of):
        getattr(cached, "cache_clear", lambda: None)()  # a test may have replaced the function


class Launch(NamedTuple):
    """A launch that was executed."""

    name: str
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]
    """Tensors are replaced by their shapes."""
    racy_reads: int
    """The number of reads that race with the write of another thread."""


_kernels: dict[str, Any] = {}  # by Triton's hash
_lock = threading.Lock()


@contextlib.contextmanager
def emulated_gpu(capability: int, *, seed: int = 1) -> Iterator[list[Launch]]:
    """Let ``backend="triton"`` compute on the CPU what a GPU of this capability would.

    Parameters
    ----------
    capability : int
        Compute capability of the GPU, such as 90 for sm_90; any of gpus.PROCESSORS.
    seed : int
        As of :class:`ptx.Kernel`.

    Yields
    ------
    list of Launch
        All launches so far.
    """
    from . import ptx

    done: list[Launch] = []

    def launch(compiled: CompiledKernel, grid: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        with _lock:
            if compiled.hash not in _kernels:
                _kernels[compiled.hash] = ptx.Kernel(compiled)
        racy_reads = _kernels[compiled.hash](grid, arguments, seed=seed)
        arguments = tuple(tuple(each.shape) if isinstance(each, torch.Tensor) else each for each in arguments)
        done.append(Launch(compiled.name, grid, arguments, racy_reads))

    with (
        launching(capability, launch),
        mock.patch.object(launches, "processors", lambda device: gpus.PROCESSORS[capability]),
        mock.patch.object(launches, "capability", lambda device: capability),
        kernels_on_the_cpu(),
    ):
        yield done


@contextlib.contextmanager
def kernels_on_the_cpu() -> Iterator[None]:
    """Let ``backend="triton"`` accept images on the CPU; the caller decides what executes the kernels."""
    with (
        mock.patch.dict(ops.MODULES, cpu=".triton.api"),
        mock.patch.dict(backends._DEVICES, triton=("cpu", "the CPU, which emulates a GPU")),
    ):
        ops.kernels.cache_clear()
        try:
            yield
        finally:
            ops.kernels.cache_clear()
