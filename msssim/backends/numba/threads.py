"""Threads that do a call's work together: PyTorch's own where it has an OpenMP team, and else some that wait here.

PyTorch's team spins for a while after each operation, waiting for the next: threads beside it would get no processor
until it sleeps, and it is woken faster than any other. After a fork the child has no team, and asking for it would wait
for ever; threads of Python's it can have.
"""

import atexit
import ctypes
import functools
import logging
import os
import pathlib
import queue
import threading

import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_log = logging.getLogger(__name__)


def on_threads(kernel, arguments, number, alive):
    """Call ``kernel(team, number, *arguments)`` so that as many threads do its work.

    The kernels see to it that each thread takes strips until none is left, and waits for those that others have taken.
    So a thread that comes late, or fails before it has begun, changes no result. `alive` is what addresses among the
    arguments point to: should an interrupt end the call, other threads may go on for a while.
    """
    team = _team() if number > 1 and not _forked else 0
    if number > 1 and not team:
        _helpers.ask(functools.partial(_help, kernel, arguments, alive), number - 1)
    kernel(team, number, *arguments)


def _help(kernel, arguments, alive):
    kernel(0, 1, *arguments)


@functools.cache
def _team():
    """The address of the function by which code that compilers made for OpenMP asks for PyTorch's team; 0 for none."""
    path = pathlib.Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        # What the library itself links to is looked through too.
        library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        return ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return 0


@intrinsic
def on_team(typingctx, team, number, function, arguments):
    """Call a compiled function with a tuple of arguments on each thread of a team; its errors are dropped."""
    signature = function.get_call_type(typingctx, tuple(arguments), {})

    def generate(context, builder, caller, values):
        team, number, _, packed = values
        made = function.dispatcher.overloads[signature.args]
        context.active_code_library.add_linking_library(made.library)
        data = cgutils.alloca_once_value(builder, packed)
        address = ir.IntType(8).as_pointer()
        work = ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [address]), builder.module.get_unique_name("msssim.work")
        )
        work.linkage = "internal"
        inside = ir.IRBuilder(work.append_basic_block())
        given = cgutils.unpack_tuple(inside, inside.load(inside.bitcast(work.args[0], data.type)))
        context.call_conv.call_function(
            inside, context.declare_function(builder.module, made.fndesc), signature.return_type, signature.args, given
        )
        inside.ret_void()
        kind = ir.FunctionType(ir.VoidType(), [work.type, address, ir.IntType(32), ir.IntType(32)])
        start = builder.inttoptr(team, kind.as_pointer())
        number = builder.trunc(number, ir.IntType(32))
        builder.call(start, [work, builder.bitcast(data, address), number, ir.Constant(ir.IntType(32), 0)])
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, function, arguments), generate


class _Helpers:
    """Threads that wait for work all their life, until the process ends."""

    def __init__(self):
        self._asked, self._threads, self._starting = queue.SimpleQueue(), [], threading.Lock()

    def ask(self, work, number):
        if len(self._threads) < number:
            with self._starting:
                while len(self._threads) < number:
                    name = f"msssim_{len(self._threads)}"
                    thread = threading.Thread(target=self._serve, name=name, daemon=True)
                    thread.start()
                    self._threads.append(thread)
        for _ in range(number):
            self._asked.put(work)

    def end(self):
        """Wait until each has done its work: what still runs when Python goes down takes the process with it."""
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self):
        while (work := self._asked.get()) is not None:
            try:
                work()
            except BaseException:  # an error that the thread which asked has as well, or gets by without
                _log.warning("numba backend: a helping thread failed", exc_info=True)
            del work  # and with it the images


_helpers, _forked = _Helpers(), False


def _start_anew():
    """After a fork: the child has none of its parent's threads."""
    global _helpers, _forked
    _helpers, _forked = _Helpers(), True


atexit.register(lambda: _helpers.end())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
