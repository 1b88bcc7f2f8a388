"""Threads that share the work of a call: PyTorch's own if it has an OpenMP team, otherwise Python threads.

PyTorch's team spins for a while after each operation, waiting for the next: other threads would get no processor
until it sleeps, and it wakes faster than any other. A forked child has no team, and a call of it would never
return; Python threads can be started again.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import logging
import os
import pathlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import torch

_log = logging.getLogger(__name__)

Work = Callable[[], None]


def on_threads(kernel: Callable[..., None], arguments: tuple[Any, ...], number: int, alive: object) -> None:
    """Call ``kernel(team, number, *arguments)`` so that as many threads do its work.

    The kernels make each thread take strips until none is left, and wait for those that others have taken. So a thread
    that comes late, or fails before it has begun, changes no result.

    Parameters
    ----------
    kernel : callable
        An entry point of the kernels.
    arguments : tuple
        Its arguments after `team` and `number`.
    number : int
        How many threads, this one among them.
    alive : object
        Keeps alive what addresses among the arguments point to: when an interrupt ends the call, other threads may go
        on for a while.
    """
    team = _team() if number > 1 and not _forked else 0
    if number > 1 and not team:
        _helpers.ask(functools.partial(_help, kernel, arguments, alive), number - 1)
    kernel(team, number, *arguments)


def _help(kernel: Callable[..., None], arguments: tuple[Any, ...], alive: object) -> None:
    kernel(0, 1, *arguments)


@functools.cache
def _team() -> int:
    """The address of the function that starts PyTorch's OpenMP team, as compilers call it; 0 if there is none."""
    path = pathlib.Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        # What the library itself links to is searched too.
        library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        return ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value or 0
    except (OSError, AttributeError):
        return 0


class _Helpers:
    """Threads that wait for work until the process ends."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def ask(self, work: Work, number: int) -> None:
        """Let so many threads do the work."""
        if len(self._threads) < number:
            with self._starting:
                while len(self._threads) < number:
                    name = f"msssim_{len(self._threads)}"
                    thread = threading.Thread(target=self._serve, name=name, daemon=True)
                    thread.start()
                    self._threads.append(thread)
        for _ in range(number):
            self._asked.put(work)

    def end(self) -> None:
        """Wait until each has done its work: threads that still run when Python ends crash the process."""
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (work := self._asked.get()) is not None:
            try:
                work()
            except BaseException:  # an error that the calling thread has as well, or can do without
                _log.warning("numba backend: a worker thread failed", exc_info=True)
            del work  # and with it the images


_helpers, _forked = _Helpers(), False


def _after_fork() -> None:
    """The child has none of its parent's threads."""
    global _helpers, _forked
    _helpers, _forked = _Helpers(), True


atexit.register(lambda: _helpers.end())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
