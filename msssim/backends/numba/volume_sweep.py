"""One sweep over a pair of volumes at one scale: the sum of the map, and its gradient where asked.

A task is DEPTH slices of a strip of rows. Block by block, the voxels of these slices and their halo are read as s and d
and filtered along the depth; then each slice is swept as a block of an image is. The derivatives of the map, filtered
along the rows, go to a ring of slices. When those of halo + DEPTH slices are there, other tasks filter them along the
other axes and write the gradient of DEPTH slices.
"""

from __future__ import annotations

from . import finish
from .filters import write_weights
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
from .layout import COPIES, SHEET_SIZE, Layout
from .scalars import FLOAT64, INT64, Element, Pointer, Scalar
from .simd import SimdBuilder
from .volume_gradient import sweep_gradient
from .volume_map import sweep_map
from .volume_records import STATE, Memory, VolumeCall, VolumeTask, Work, sizes
from .work import Options, PlaneConstants


def _memory(code: SimdBuilder, layout: Layout, width: Scalar, n_grads: int) -> tuple[Pointer, Pointer, Memory]:
    """(what to free, a sheet of float64, the parts of a thread's memory); what to free is 0 if there is no memory."""
    parts = sizes(layout, width, n_grads)
    elements = sum(parts[1:], start=code.integer(parts[0]))
    store = allocated(code, elements * code.element.size // 8 + (SHEET_SIZE + 16))
    starts = [code.pointer((address_of(store + SHEET_SIZE) + 63) // 64 * 64, code.element)]
    for size in parts[:-1]:
        starts.append(starts[-1] + size)
    with code.when(address_of(store) != 0):
        for i in code.range(elements):
            starts[0][i] = 0.0
    return store, store, Memory(*starts)


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
    store, sheet, memory = _memory(code, layout, call.width, options.n_grads)
    with code.when(address_of(store) != 0):
        write_weights(code, layout, memory.table, taps)
        for place, tap in enumerate(taps):
            for i in code.range(COPIES):
                memory.table[i + (2 * layout.n_taps + place) * COPIES] = tap
        with code.repeat() as loop:
            k = atomic_fetch_add(state, STATE.next_task)
            loop.leave_when(k >= call.n_tasks)
            task = code.record(tasks, VolumeTask, k)
            wait_until(code, lambda: atomic_load(state, STATE.finished) >= task.needed)
            _take_task(code, layout, options, elements, call, task, memory, sheet, k)
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
    sheet: Pointer,
    number: Scalar,
) -> None:
    source, target = elements
    table = code.record(code.pointer(call.constants, FLOAT64), PlaneConstants, task.plane)
    constants = PlaneConstants(*(code.real(each) for each in table))
    origins = code.pointer(call.origins, FLOAT64) + task.plane * 2
    voxels = task.plane * (call.depth * call.height * call.width)
    x, y = (code.pointer(each, source) + voxels for each in (call.x, call.y))
    work = Work(
        layout, options, x, y, call.depth, call.height, call.width, task.first_slice, task.first_row, task.end_row,
        call.last != 0, constants, (code.real(origins[0]), code.real(origins[1])),
        code.pointer(call.ring, code.element), memory, sheet,
    )  # fmt: skip
    for i in code.range(SHEET_SIZE):
        sheet[i] = 0
    if not options.n_grads:
        sweep_map(code, work)
    else:
        with code.branch(task.of_gradient != 0) as (of_gradient, of_map):
            with of_gradient:
                outputs = (code.pointer(each, target) + voxels for each in (call.gradient_x, call.gradient_y))
                sweep_gradient(code, work, tuple(outputs)[: options.n_grads])
            with of_map:
                sweep_map(code, work)
    sums = code.pointer(call.sums, FLOAT64) + number * finish.N_SUMS
    for place, result in enumerate(finish.numbers_of(code, sheet)):
        sums[place] = result


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

    `source`, `target` and `like` are arrays of the types of the voxels, of the gradients and of what is computed with;
    `arguments` are the VolumeCall as an array; `gradients` has as many numbers as volumes have a gradient;
    `guard_zero_div` is True or None.
    """
    _sweep_volumes((team, number, source, target, arguments, like, taps, gradients, guard_zero_div))
