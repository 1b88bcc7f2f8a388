"""From the sums of strips to the means of planes, and the planes that may be too inaccurate in float32."""

from __future__ import annotations

import math

from .functions import outlined
from .layout import MEASURES, ROWS, SHEET, Layout
from .records import STATE, Arguments, ScaleShape, Task
from .scalars import FLOAT32, FLOAT64, INT64, Field, Pointer, Scalar, Variable
from .simd import SimdBuilder
from .work import PlaneConstants

EXTREME, INACCURATE = 1, 2  # pixels may be so large that squares overflow; float32 may break the error budgets

# In natural images rounding errors of windows average out. In graphics most windows are equal, and so are their errors,
# which grow with E[s²] + E[d²] about the constants of a block, in units of the denominator of cs.
GRAPHICS = 0.24  # from this fraction of pixels that equal their neighbour in both images, an image is graphics
RATIO_OF_GRAPHICS = 0.5  # the largest of these numbers in a window of graphics without harm to the gradient
ALMOST_FLAT = 0.9  # with more than this fraction, errors of few windows are all there is of the gradient
RATIO_OF_ANY = 1000.0  # the same in natural images
FEATURELESS = 2.0**-4  # if the largest is smaller, C2 hides the image, and rounding errors of means its gradient
FLAT_SQUARES = 64.0  # their mean, 0 but in nearly flat windows, without harm; few photographs have more
FLAT_IN_GRADIENT = 1e5  # that mean in units of 1 - mean(cs), by which the gradient grows
LEAST_MEAN = 2.0**-7  # the power of a smaller one, and its derivative, magnify rounding too much

SUSPICIOUS = 2.0**60  # a denominator larger than this may belong to pixels whose squares overflow

# After the measures: how many pixels equal their neighbour, and of how many.
EQUAL, COMPARED = len(MEASURES), len(MEASURES) + 1
N_SUMS = len(MEASURES) + 2


def numbers_of(code: SimdBuilder, sheet: Pointer) -> list[Scalar]:
    """The N_SUMS numbers known of a strip, or of a task of volumes, from those of its rows."""
    found = [code.variable(code.cast(0.0, FLOAT64.ir)) for _ in MEASURES]
    for k in code.range(ROWS):
        for measure, variable in enumerate(found):
            value, old = sheet[k + measure * ROWS], variable.get()
            largest = measure in (MEASURES.largest, MEASURES.ratio)
            variable.set(code.max(old, value) if largest else old + value)
    return [*(each.get() for each in found), sheet[SHEET.equal], sheet[SHEET.compared]]


def collect(code: SimdBuilder, call: Arguments, task: Task, sheet: Pointer, sums: Pointer) -> None:
    """Store the numbers known of a strip."""
    for measure, number in enumerate(numbers_of(code, sheet)):
        sums[_place(call, measure, task.plane, task.level, task.slot)] = number


def _place(call: Arguments, measure: int, plane: Field, level: Field, slot: Field) -> Field:
    return ((measure * call.n_planes + plane) * call.n_levels + level) * call.n_slots + slot


@outlined
def finish(code: SimdBuilder, layout: Layout, n_grads: int, call: Arguments) -> None:
    """The means of all planes and scales, from the sums of the strips in their order, and which are not accurate."""
    sums, means, constants = (code.pointer(each, FLOAT64) for each in (call.sums, call.means, call.constants))
    state, shapes = (code.pointer(each, INT64) for each in (call.state, call.shapes))

    def variable(value: float) -> Variable:
        return code.variable(code.cast(value, FLOAT64.ir))

    def suspect(condition: Scalar, what: int) -> None:
        state[STATE.suspect] = state[STATE.suspect] | code.select(condition, what, 0)

    for n in code.range(call.n_planes):
        flat, of_gradient, ratio, share, least = (variable(value) for value in (0.0, -1.0, 0.0, 0.0, 1.0))
        for level in code.range(call.n_levels):
            total, squares, equal, compared, weight = (variable(value) for value in (0.0, 0.0, 0.0, 1.0, 0.0))
            shape = code.record(shapes, ScaleShape, level)
            for slot in code.range(shape.n_strips):
                one, largest, flat_squares, one_ratio, one_weight, one_equal, one_compared = (
                    sums[_place(call, k, n, level, slot)] for k in range(N_SUMS)
                )
                weight.set(weight.get() + one_weight)
                total.set(total.get() + one)
                squares.set(squares.get() + flat_squares)
                ratio.set(code.max(ratio.get(), one_ratio))
                equal.set(equal.get() + one_equal)
                compared.set(compared.get() + one_compared)
                suspect(~(largest < SUSPICIOUS), EXTREME)
            suspect(~(abs(total.get()) < math.inf), EXTREME)
            beyond = call.border * 2 - layout.halo
            windows = (shape.height + beyond) * (shape.width + beyond)
            if layout.masked:
                code.pointer(call.weights, FLOAT64)[n * call.n_levels + level] = weight.get()
                windows = code.select(weight.get() > 0, weight.get(), math.inf)
            mean = total.get() / windows
            means[n * call.n_levels + level] = mean
            size = code.select(weight.get() > 0, abs(mean), 1.0) if layout.masked else abs(mean)
            least.set(code.min(least.get(), size))
            c2 = code.record(constants, PlaneConstants, n).c2
            of_level = squares.get() / windows / c2
            flat.set(code.max(flat.get(), of_level))
            of_gradient.set(
                code.max(of_gradient.get(), of_level - (code.cast(1.0, FLOAT64.ir) - mean) * FLAT_IN_GRADIENT)
            )
            share.set(code.max(share.get(), equal.get() / compared.get()))
        if code.element == FLOAT32:
            inaccurate = (flat.get() > FLAT_SQUARES) | (least.get() < LEAST_MEAN)
            if n_grads:
                graphics = (share.get() > GRAPHICS) & (ratio.get() > RATIO_OF_GRAPHICS) | (share.get() > ALMOST_FLAT)
                inaccurate = inaccurate | (ratio.get() > RATIO_OF_ANY) | (ratio.get() < FEATURELESS) | graphics
                inaccurate = inaccurate | (of_gradient.get() > 0)
            suspect(inaccurate, INACCURATE)
            state[STATE.scales + call.n_planes * call.n_levels + n] = inaccurate
