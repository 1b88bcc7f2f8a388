"""One sweep over a pair of volumes at one scale: the sum of the map, and its gradient where asked.

A task is DEPTH slices of a strip of ROWS rows. For each row of the strip and its halo, the voxels of DEPTH slices and
their halo are read as s and d and filtered along the depth. Then the strip is filtered down the columns and along the
rows, and the map is computed as that of images. Its derivatives go to a ring of slices. When those of halo + DEPTH
slices are there, other tasks filter them in the same way and write the gradient of DEPTH slices.

All is computed in float64: E[s²] - E[s]² then needs one constant near the mean of the volume only.
"""

from __future__ import annotations

from typing import Any

from .functions import (
    address_of,
    allocated,
    atomic_fetch_add,
    atomic_load,
    cached_njit,
    free,
    from_numba,
    on_team,
    outlined,
    wait_until,
)  # fmt: skip
from .layout import COPIES, ROWS, Layout
from .scalars import FLOAT64, INT64, Element, Pointer, Scalar
from .simd import SimdBuilder
from .volume_gradient import sweep_gradient
from .volume_map import sweep_map
from .volume_records import DEPTH, STATE, Memory, VolumeCall, VolumeTask, Work, line_of
from .work import Options, PlaneConstants


def _memory(code: SimdBuilder, layout: Layout, width: Scalar) -> tuple[Pointer, Scalar, Memory]:
    """(what to free, how many numbers, the parts); what to free is 0 if there is no memory."""
    line = line_of(layout, width)
    sizes: list[Any] = [layout.n_taps * COPIES, line, line * (2 * (layout.halo + DEPTH))]
    sizes += [line * (4 * DEPTH * (ROWS + layout.halo)), line * (4 * ROWS)]
    elements = sum(sizes[1:], start=code.integer(sizes[0]))
    store = allocated(code, elements + 8)
    starts = [code.pointer((address_of(store) + 63) // 64 * 64, FLOAT64)]
    for size in sizes[:-1]:
        starts.append(starts[-1] + size)
    table, zeros, staged, filtered, down = starts
    return store, elements, Memory(table, zeros, staged, filtered, down, line)


@outlined
def _take_tasks(
    code: SimdBuilder,
    layout: Layout,
    options: Options,
    elements: tuple[Element, Element],
    call: VolumeCall,
    taps: tuple[Scalar, ...],
) -> None:
    """One thread's part of the work: task after task until none is left; then wait for what the others do.

    Tasks are taken in order, and a task waits for those before it only.
    """
    state, tasks = code.pointer(call.state, INT64), code.pointer(call.tasks, INT64)
    store, size, memory = _memory(code, layout, call.width)
    with code.when(address_of(store) != 0):
        for i in code.range(size):
            memory.table[i] = 0.0
        for place, tap in enumerate(taps):
            for i in code.range(COPIES):
                memory.table[i + place * COPIES] = tap
        with code.repeat() as loop:
            k = atomic_fetch_add(state, STATE.next_task)
            loop.leave_when(k >= call.n_tasks)
            task = code.record(tasks, VolumeTask, k)
            wait_until(code, lambda: atomic_load(state, STATE.finished) >= task.needed)
            _take_task(code, layout, options, elements, call, task, memory, k)
            with code.when(atomic_fetch_add(state, STATE.finished) == call.n_tasks - 1):
                atomic_fetch_add(state, STATE.done)
        wait_until(code, lambda: atomic_load(state, STATE.done) != 0)
        free(code, store)


def _take_task(
    code: SimdBuilder,
    layout: Layout,
    options: Options,
    elements: tuple[Element, Element],
    call: VolumeCall,
    task: VolumeTask,
    memory: Memory,
    number: Scalar,
) -> None:
    source, target = elements
    constants = code.record(code.pointer(call.constants, FLOAT64), PlaneConstants, task.plane)
    shifts = code.pointer(call.shifts, FLOAT64) + task.plane * 2
    voxels = task.plane * (call.depth * call.height * call.width)
    x, y = (code.pointer(each, source) + voxels for each in (call.x, call.y))
    work = Work(
        layout, options, x, y, call.depth, call.height, call.width, task.first_slice, task.first_row, constants.scale,
        (shifts[0], shifts[1]), code.pointer(call.ring, FLOAT64), memory,
    )  # fmt: skip
    # The sums of a task are as many as a vector may have lanes.
    sums = code.pointer(call.sums, FLOAT64) + number * COPIES
    if not options.n_grads:
        sweep_map(code, work, call.last != 0, constants, sums)
        return
    with code.branch(task.of_gradient != 0) as (of_gradient, of_map):
        with of_gradient:
            outputs = (code.pointer(each, target) + voxels for each in (call.gradient_x, call.gradient_y))
            sweep_gradient(code, work, constants.grad_scale, tuple(outputs)[: options.n_grads])
        with of_map:
            sweep_map(code, work, call.last != 0, constants, sums)


@from_numba
def _sweep_volumes(
    code: SimdBuilder,
    team: Scalar,
    number: Scalar,
    source: Pointer,
    target: Pointer,
    arguments: Pointer,
    like: Pointer,
    taps: tuple[Scalar, ...],
    gradients: tuple[Scalar, ...],
    guard_zero_div: Scalar | None,
) -> None:
    call = code.record(arguments, VolumeCall)
    options = Options(len(gradients), guard_zero_div is not None)
    done = code.pointer(call.state, INT64) + STATE.done
    elements = source.element, target.element
    on_team(code, team, number, _take_tasks, done, Layout(len(taps)), options, elements, call, taps)


@cached_njit
def sweep_volumes(team, number, source, target, arguments, like, taps, gradients, guard_zero_div):  # type: ignore[no-untyped-def]
    """The whole of the work, or as much of it as is left, by so many threads of a team; for no team, team is 0.

    `source`, `target` and `like` are arrays of the type of the pixels, of the gradients and of float64; `arguments` are
    the VolumeCall as an array; `gradients` has as many numbers as volumes have a gradient; `guard_zero_div` is True or
    None.
    """
    _sweep_volumes((team, number, source, target, arguments, like, taps, gradients, guard_zero_div))
