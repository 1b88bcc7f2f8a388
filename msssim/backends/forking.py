"""A lock for what must not be in progress when the process forks: importing and compiling kernels.

The child of a fork has only the thread that forked. A lock that another thread of the parent held stays locked in the
child: those of Python's imports, of Numba's compiler and of LLVM. So a fork waits until no kernel is being compiled.
"""

import logging
import os
import threading

_log = logging.getLogger(__name__)

FORK_TIMEOUT = 120.0
"""Seconds that a fork waits for a compilation."""

_lock = threading.RLock()
_state = threading.local()  # whether the thread that forks holds the lock
_unusable = False


def lock() -> threading.RLock:
    """The lock to hold while kernels are imported or compiled."""
    return _lock


def unusable() -> bool:
    """Whether kernels cannot be compiled in this process, because it was forked during a compilation."""
    return _unusable


def require_usable() -> None:
    """Raise an error if compiling would wait for a thread that does not exist."""
    if _unusable:
        raise RuntimeError(
            "this process was forked while another thread compiled kernels, so it cannot compile any: "
            'call msssim.warm_up() before the fork, use the start method "spawn", or pass backend="torch"'
        )


def _before() -> None:
    _state.held = _lock.acquire(timeout=FORK_TIMEOUT)
    if not _state.held:
        _log.warning(
            "a kernel is still being compiled after %.0f s: the forked process cannot compile any", FORK_TIMEOUT
        )


def _in_parent() -> None:
    if _state.held:
        _lock.release()


def _in_child() -> None:
    global _lock, _unusable
    if _state.held:
        _lock.release()
    else:
        _lock, _unusable = threading.RLock(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
