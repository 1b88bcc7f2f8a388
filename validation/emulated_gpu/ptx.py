"""Execute PTX without a GPU: what Triton compiles a kernel to, translated to C, one thread after another.

A thread runs until it has to wait for others: at a barrier, or where its warp exchanges registers. The next thread is
drawn at random. Every access to memory is checked: it must be aligned and inside of the kernel's arguments. No thread
may overwrite what another one has written since the last barrier, or another program in the same launch. Reading such
memory is a race, and gives NaN.

Instructions that PTX calls approximate are as inaccurate as NVIDIA allows. Denormals are kept; a GPU may flush them
to zero.
"""

import ctypes
import hashlib
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

from triton.runtime import cache  # type: ignore[import-untyped]

from .translate import Translation, body

_RUNTIME = pathlib.Path(__file__).with_suffix(".c")
_MAX_CHECKED = 2**28  # bytes of a tensor whose writes are recorded
_FAULTS = (
    "", "an access outside of the kernel's arguments", "an access that is not aligned",
    "a write over another thread's write", "a deadlock: all threads wait",
)  # fmt: skip


class Kernel:
    """A kernel that Triton has compiled; call it with a grid and the arguments.

    Raises
    ------
    ValueError
        For PTX that is not translated; the message has the instruction.
    """

    def __init__(self, compiled: Any) -> None:
        self.name, self.ptx = compiled.name, compiled.asm["ptx"]
        self.shared = max(compiled.metadata.shared, 16)
        self.threads = 32 * compiled.metadata.num_warps
        # The PTX has no parameter for a constant of the signature.
        self.passed = [kind != "constexpr" for kind in compiled.src.signature.values()]
        self.library = ctypes.CDLL(_build(Translation(self.ptx), self.shared))
        for size in (self.library.size_of_thread, self.library.size_of_machine):
            size.restype = ctypes.c_uint64
        if self.library.size_of_machine() != ctypes.sizeof(_Machine):
            raise AssertionError("ptx.py and ptx.c have different layouts of `machine`")

    def __call__(
        self, grid: Sequence[int], arguments: Sequence[Any], *, seed: int = 1, check_races: bool = True
    ) -> int:
        """Execute all programs, one after another.

        Parameters
        ----------
        grid : tuple of int
            Number of programs, in two dimensions.
        arguments : sequence of torch.Tensor or int
            All arguments of the kernel, including the constants. Tensors are on the CPU.
        seed : int
            Decides the order of the threads; not 0.
        check_races : bool
            Whether to record which thread wrote what. This takes eight bytes per byte; very large tensors are left out.

        Returns
        -------
        int
            The number of reads that race with the write of another thread.

        Raises
        ------
        RuntimeError
            At the first fault. The message has the program, the thread, and the lines of PTX before it.
        """
        arguments = [each for each, passed in zip(arguments, self.passed, strict=True) if passed]
        storages = {
            each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
            for each in arguments
            if hasattr(each, "untyped_storage")
        }
        shared = ctypes.create_string_buffer(self.shared + 128)
        ranges = [(-(-ctypes.addressof(shared) // 128) * 128, self.shared), *storages.items()]
        written_by = [(ctypes.c_uint64 * (size if check_races and size <= _MAX_CHECKED else 0))() for _, size in ranges]
        machine = _Machine(grid=tuple(grid[:2]), threads=self.threads, seed=seed, count=len(ranges))
        for k, (begin, size) in enumerate(ranges):
            written = ctypes.addressof(written_by[k]) if len(written_by[k]) else None
            machine.ranges[k] = _Range(begin, begin + size, written)
        for k, each in enumerate(arguments):
            machine.params[k] = (each.data_ptr() if hasattr(each, "data_ptr") else int(each)) & (2**64 - 1)
        threads = ctypes.create_string_buffer(self.threads * self.library.size_of_thread())
        if self.library.run(ctypes.byref(machine), threads):
            lines = "\n".join(body(self.ptx)[max(machine.line - 3, 0) : machine.line + 1])
            raise RuntimeError(
                f"{self.name}: {_FAULTS[machine.fault]}: program {machine.program}, thread {machine.thread}, "
                f"address {machine.address:#x}\n{lines}"
            )
        racy_reads: int = machine.racy_reads
        return racy_reads


class _Range(ctypes.Structure):
    _fields_ = (("begin", ctypes.c_uint64), ("end", ctypes.c_uint64), ("written", ctypes.c_void_p))


_COUNTS = ("threads", "seed", "count", "fault", "line", "program", "thread", "racy_reads")


class _Machine(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint32 * 2),
        *((name, ctypes.c_uint32) for name in _COUNTS),
        *((name, ctypes.c_uint64) for name in ("address", "now", "program_began")),
        ("params", ctypes.c_uint64 * 64),
        ("ranges", _Range * 32),
    )


def _build(translation: Translation, shared: int) -> str:
    """The path of a kernel's shared library, from Triton's cache if it was built before."""
    step = translation.source()
    compiler = os.environ.get("CC", "cc")
    flags = ["-O1", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-w", "-shared", "-fPIC"]
    flags += [f"-DREGISTERS={len(translation.registers) + 1}", f"-DSHARED={shared}", '-DSTEP="step.c"']
    key = hashlib.sha256("\n".join((_RUNTIME.read_text(), step, compiler, *flags)).encode()).hexdigest()
    store = cache.get_cache_manager(key)
    found = store.get_file("ptx.so")
    if found is None:
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "step.c").write_text(step)
            built = pathlib.Path(folder, "ptx.so")
            subprocess.run([compiler, *flags, f"-I{folder}", _RUNTIME, "-o", built, "-lm"], check=True)
            found = store.put(built.read_bytes(), "ptx.so", binary=True)
    return str(found)
