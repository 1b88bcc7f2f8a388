"""Kernels are compiled at the first call of their kind: the messages about it, and the lock around it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import numba

from .. import forking

_log = logging.getLogger("msssim")

_NOTICE_AFTER = 2.0  # seconds after which a message says that the kernel is being compiled
_ready_for: set[tuple[object, ...]] = set()
_noticed = False


def prepare(kernel: Any, kind: tuple[object, ...], arguments: tuple[object, ...]) -> None:
    """Compile the kernel for arguments of these types, or load it from Numba's cache, unless that was done.

    Parameters
    ----------
    kernel : Numba dispatcher
        An entry point of the kernels.
    kind : tuple
        What its types depend on.
    arguments : tuple
        The arguments of the call.
    """
    variant = (kernel.__name__, *kind)
    if variant in _ready_for:
        return
    forking.require_usable()
    with forking.lock():
        if variant in _ready_for:
            return
        _log.info("numba backend: preparing the kernel %s for a new kind of call", kernel.__name__)
        started = time.perf_counter()
        signature = tuple(numba.typeof(argument) for argument in arguments)
        timer = threading.Timer(_NOTICE_AFTER, _notice, (_fate(kernel),))
        timer.daemon = True
        timer.start()
        failure = None
        try:
            kernel.compile(signature)
        except OSError as error:  # compiled, but the folder cannot be written to
            failure = error
        finally:
            timer.cancel()
            timer.join()  # or the thread would end some time later, perhaps while the process forks
        if failure:
            _log.warning("numba backend: compiled code is not cached: %s. %s", failure, _ADVICE)
        if kernel.stats.cache_hits.get(signature):
            source = f"loaded from {kernel.stats.cache_path}"
        else:
            source = "compiled, not cached" if failure else f"compiled, {_fate(kernel)}"
        _log.info(
            "numba backend: %s is ready after %.1f s (%s)", kernel.__name__, time.perf_counter() - started, source
        )
        _ready_for.add(variant)


_ADVICE = "Set NUMBA_CACHE_DIR to a writable folder, or every process compiles again"


def _fate(kernel: Any) -> str:
    """Where the compiled code is cached."""
    path = kernel.stats.cache_path
    return f"cached in {path}" if path else f"not cached, because no cache folder is writable. {_ADVICE}"


def _notice(fate: str) -> None:
    """Tell the user once, at a level that shows on stderr unless logging is set up otherwise."""
    global _noticed
    if not _noticed:
        _noticed = True
        _log.warning("msssim compiles its kernels for this CPU at the first call of each kind: some seconds (%s)", fate)
