"""One sweep over a pair of images: the terms of every scale, and their gradients if requested.

A plane is cut into strips, which threads take in turn (:mod:`.strip` does one). Sums are made strip by strip in a fixed
order: the number of threads changes no bit of a result.
"""

from __future__ import annotations

from .filters import write_weights
from .finish import collect, finish
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
from .layout import PART, SHEET_SIZE, Layout
from .pixels import Image
from .records import STATE, Arguments, ScaleShape, Task
from .scalars import FLOAT64, INT64, Element, Pointer, Scalar
from .shifts import origins_of
from .simd import SimdBuilder
from .strip import sweep_strip
from .work import Memory, Options, Origins, PlaneConstants, Strip, Targets, Work, sizes


def _memory(code: SimdBuilder, layout: Layout, width: Scalar, n_grads: int) -> tuple[Pointer, Pointer, Memory]:
    """(what to free, a sheet of float64, the parts of a thread's memory); what to free is 0 if there is no memory.

    `width` is that of the finest scale and of the zeros at its left.
    """
    parts = sizes(layout, width, n_grads)
    elements = sum(parts[1:], start=parts[0])
    store = allocated(code, (elements * code.element.size + 7) // 8 + (SHEET_SIZE + 8))
    first = code.pointer((address_of(store + SHEET_SIZE) + 63) // 64 * 64, code.element)
    starts = [first]
    for size in parts[:-1]:
        starts.append(starts[-1] + size)
    return store, store, Memory(*starts)


@outlined
def _take_strips(
    code: SimdBuilder,
    layout: Layout,
    options: Options,
    source: Element,
    weights: Element | None,
    call: Arguments,
    taps: tuple[Scalar, ...],
) -> None:
    """One thread's part of the work: strip after strip until none is left; then wait for what the others do.

    A strip of a scale waits until the plane's finer scale is finished, which other threads are then busy with: strips
    are taken in an order in which what one waits for was taken before it. The thread that finishes the last of them
    makes the means. A thread that gets no memory does nothing.
    """
    state, shapes, tasks = (code.pointer(each, INT64) for each in (call.state, call.shapes, call.tasks))
    finest = code.record(shapes, ScaleShape)
    store, sheet, memory = _memory(code, layout, finest.width + _columns_before(code, call), options.n_grads)
    with code.when(address_of(store) != 0):
        write_weights(code, layout, memory.table, taps)
        with code.repeat() as loop:
            k = atomic_fetch_add(state, STATE.next_strip)
            loop.leave_when(k >= call.n_tasks)
            task = code.record(tasks, Task, k)
            for i in code.range(SHEET_SIZE):
                sheet[i] = 0
            _take_strip(code, layout, options, source, weights, call, task, finest, memory, sheet)
            collect(code, call, task, sheet, code.pointer(call.sums, FLOAT64))
            atomic_fetch_add(state, task.plane * call.n_levels + task.level + STATE.scales)
            with code.when(atomic_fetch_add(state, STATE.finished) == call.n_tasks - 1):
                finish(code, layout, options.n_grads, call)
                atomic_fetch_add(state, STATE.done)
        wait_until(code, lambda: atomic_load(state, STATE.done) != 0)
        free(code, store)


def _columns_before(code: SimdBuilder, call: Arguments) -> Scalar:
    """Columns of zeros that a plane begins with: more than the border, so that the image begins with a whole part."""
    columns: Scalar = code.select(call.border > 0, PART, code.integer(0))
    return columns


def _take_strip(
    code: SimdBuilder,
    layout: Layout,
    options: Options,
    source: Element,
    weights: Element | None,
    call: Arguments,
    task: Task,
    finest: ScaleShape,
    memory: Memory,
    sheet: Pointer,
) -> None:
    """Find where the strip's pixels are, and sweep over them."""
    n, level, size = task.plane, task.level, code.element.size
    state, shapes = (code.pointer(each, INT64) for each in (call.state, call.shapes))
    shape = code.record(shapes, ScaleShape, level)
    table = code.record(code.pointer(call.constants, FLOAT64), PlaneConstants, n)
    constants = PlaneConstants(*(code.real(each) for each in table))
    coarse = (n * call.pyramid_size + shape.coarser) * size
    fine = (n * call.gradient_size + shape.offset) * size
    image, channel = n // call.n_channels, n % call.n_channels
    coarse_targets = [code.pointer(each + coarse, code.element) for each in (call.pyramid_s, call.pyramid_d)]
    coarse_mask = code.integer(0)
    if weights is not None:
        coarse_mask = _number_of_mask(code, call, image, channel) * call.pyramid_size
        coarse_targets.append(code.pointer(call.pyramid_m, code.element) + (coarse_mask + shape.coarser))
    targets = Targets(
        tuple(coarse_targets),
        tuple(code.pointer(each + fine, code.element) for each in (call.gradient_x, call.gradient_y)),
    )
    of_x = image * call.x_image + channel * call.x_channel, call.x_column, call.x_row
    of_y = image * call.y_image + channel * call.y_channel, call.y_column, call.y_row
    x, y = _plane(code, source, call.x, *of_x), _plane(code, source, call.y, *of_y)
    mask = None
    if weights is not None:
        at = image * call.mask_image + channel * call.mask_channel
        mask = _plane(code, weights, call.mask, at, call.mask_column, call.mask_row)
    origins = [code.variable(0.0), code.variable(0.0)]
    with code.when(call.n_levels > 1):
        x_plane, y_plane = _plane(code, source, call.origins_x, *of_x), _plane(code, source, call.origins_y, *of_y)
        near = origins_of(code, x_plane, y_plane, mask, call.origins_height, finest.width, constants.scale)
        for variable, origin in zip(origins, near, strict=True):
            variable.set(origin)
    origin_x, origin_y = (variable.get() for variable in origins)
    strip = Strip(
        task.top, task.bottom, shape.height, shape.width, level == call.n_levels - 1, level > 0, call.border,
        _columns_before(code, call),
    )  # fmt: skip
    zero, one, common = code.real(0), code.integer(1), (layout, options)
    with code.branch(level == 0) as (finer, coarser):
        with finer:
            given = Origins(zero, zero, origin_x, origin_y)
            sweep_strip(code, Work(*common, x, y, given, strip, targets, memory, sheet, constants, mask))
        with coarser:
            n_strips = code.record(shapes, ScaleShape, level - 1).n_strips
            place = n * call.n_levels + (level - 1) + STATE.scales
            wait_until(code, lambda: atomic_load(state, place) >= n_strips)
            at = n * call.pyramid_size + shape.stored
            x, y = (_plane(code, code.element, each, at, one, shape.width) for each in (call.pyramid_s, call.pyramid_d))
            if layout.masked:
                mask = _plane(code, code.element, call.pyramid_m, coarse_mask + shape.stored, one, shape.width)
            given = Origins(origin_x, origin_y, origin_x, origin_y)
            constants = constants._replace(scale=code.real(1))
            sweep_strip(code, Work(*common, x, y, given, strip, targets, memory, sheet, constants, mask))


def _number_of_mask(code: SimdBuilder, call: Arguments, image: Scalar, channel: Scalar) -> Scalar:
    """Which of the masks is that of a plane. Planes that share one write the same numbers to its coarser scales."""
    zero = code.integer(0)
    own = code.select(call.mask_channel == 0, zero, channel)
    masks_of_image = code.select(call.mask_channel == 0, 1, call.n_channels)
    number: Scalar = code.select(call.mask_image == 0, zero, image) * masks_of_image + own
    return number


def _plane(code: SimdBuilder, element: Element, address: Scalar, at: Scalar, step: Scalar, below: Scalar) -> Image:
    return Image(code.pointer(address, element) + at, step, below)


@from_numba
def _sweep(
    code: SimdBuilder,
    team: Scalar,
    number: Scalar,
    source: Pointer,
    arguments: Pointer,
    weights: Pointer | None,
    like: Pointer,
    taps: tuple[Scalar, ...],
    gradients: tuple[Scalar, ...],
    guard_zero_div: Scalar | None,
) -> None:
    call = code.record(arguments, Arguments)
    options = Options(len(gradients), guard_zero_div is not None)
    done = code.pointer(call.state, INT64) + STATE.done
    layout = Layout(len(taps), weights is not None)
    of_weights = None if weights is None else weights.element
    on_team(code, team, number, _take_strips, done, layout, options, source.element, of_weights, call, taps)


@cached_njit
def sweep(team, number, source, arguments, weights, like, taps, gradients, guard_zero_div):  # type: ignore[no-untyped-def]
    """The whole of the work, or as much of it as is left, by so many threads of a team; for no team, team is 0.

    `source`, `weights` and `like` are arrays of the type of the pixels, of the type of their weights, if there is a
    mask, and of the type that is computed with; `arguments` are the Arguments as an array; `gradients` has as many
    numbers as images have a gradient; `guard_zero_div` is True or None.
    """
    _sweep((team, number, source, arguments, weights, like, taps, gradients, guard_zero_div))
