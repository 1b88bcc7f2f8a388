"""Simplify a failing call, and write it as a test."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.longdouble import DEFAULTS

from .draws import Draw, round_to_dtype

SECONDS = 20.0


def shrink(draw: Draw, fails: Callable[[Draw], bool], seconds: float | None = None) -> Draw:
    """Return the smallest failing call that is found by trying one simplification after another."""
    end = time.monotonic() + (SECONDS if seconds is None else seconds)
    progress = True
    while progress and time.monotonic() < end:
        progress = False
        for simpler in _simpler(draw):
            if time.monotonic() > end:
                break
            if _valid(simpler) and fails(simpler):
                draw, progress = simpler, True
                break
    return draw


def _valid(draw: Draw) -> bool:
    return min(draw.x.shape[1:]) >= draw.min_side


def _simpler(draw: Draw) -> Iterator[Draw]:
    """Yield simplifications, those with the largest effect first."""
    options, x = draw.options, draw.x
    yield from _without_features(draw)
    if len(x) > 1:
        yield from (_cropped(draw, slice(k, k + 1)) for k in range(len(x)))
    if len(options.weights) > 1:
        yield _half(draw)
        yield draw._replace(options=options._replace(weights=options.weights[:-1]))
    for size in (3, 5, 7, 9):
        if isinstance(options.win_size, int) and size < options.win_size:
            yield draw._replace(options=options._replace(win_size=size))
    for axis in range(1, x.ndim):
        side = x.shape[axis]
        for amount in sorted({side // 2, side // 4, side // 8, 2, 1} - {0}, reverse=True):
            for keep in (slice(amount, None), slice(None, side - amount)):
                yield _cropped(draw, *(keep if k == axis else slice(None) for k in range(x.ndim)))
    yield from _plain_options(draw)
    yield from _plain_masks(draw)
    yield from _plain_values(draw)


def _cropped(draw: Draw, planes: slice, *axes: slice) -> Draw:
    """Return a part of the planes, with the same part of the mask."""
    crop = planes, *axes
    mask = draw.mask
    if mask is not None:
        mask = mask[crop] if len(mask) == len(draw.x) else mask[(slice(None), *axes)]
    return draw._replace(x=draw.x[crop], y=draw.y[crop], mask=mask)


def _without_features(draw: Draw) -> Iterator[Draw]:
    """Yield the call without its padding, its mask and what is hidden."""
    if draw.padding != "valid":
        yield draw._replace(padding="valid")
    if draw.mask is not None:
        yield draw._replace(mask=None, mask_dtype="bool", hidden=None)
        if draw.hidden is not None:
            yield draw._replace(hidden=None)


def _plain_masks(draw: Draw) -> Iterator[Draw]:
    """Yield masks of one plane, of ones, of zeros and ones, and with fewer holes."""
    mask = draw.mask
    if mask is None:
        return
    if len(mask) > 1:
        yield from (draw._replace(mask=mask[k : k + 1]) for k in range(len(mask)))
    used = (mask > 0).astype(np.float64)
    changes = [(np.ones_like(mask), "bool"), (used, "bool"), (used, draw.mask_dtype), (mask, "float64")]
    for axis in range(1, mask.ndim):
        middle = mask.shape[axis] // 2
        for half in (slice(None, middle), slice(middle, None)):
            filled = mask.copy()
            filled[tuple(half if k == axis else slice(None) for k in range(mask.ndim))] = mask.max() or 1.0
            changes.append((filled, draw.mask_dtype))
    for position in np.argwhere(mask == 0)[:32]:
        filled = mask.copy()
        filled[tuple(position)] = mask.max() or 1.0
        changes.append((filled, draw.mask_dtype))
    size = _cost_of_mask(draw)
    for changed, dtype in changes:
        simpler = draw._replace(mask=changed, mask_dtype=dtype)
        if _cost_of_mask(simpler) < size:
            yield simpler


def _cost_of_mask(draw: Draw) -> tuple[int, int, int]:
    """Holes count most, then weights other than 1, then dtypes other than bool."""
    mask = np.asarray(draw.mask)
    dtypes = ("bool", "float64", "float32")
    return int((mask == 0).sum()), int(((mask != 0) & (mask != 1)).sum()), dtypes.index(draw.mask_dtype)


def _half(draw: Draw) -> Draw:
    """Return the same images at half the size, with one scale less."""
    every_second = (slice(None, None, 2),) * draw.axes
    options = draw.options._replace(weights=draw.options.weights[1:])
    return _cropped(draw, slice(None), *every_second)._replace(options=options)


def _plain_options(draw: Draw) -> Iterator[Draw]:
    options = draw.options
    levels = len(options.weights)
    changes: list[dict[str, Any]] = [{"weights": (1.0,) * levels}, {"sigma": 1.5}, {"K1": 0.01}, {"K2": 0.03}]
    changes += [{"normalize": None, "method": "wtd_sum"}, {"normalize": None}, {"method": "product"}]
    for change in changes:
        simpler = options._replace(**change)
        # The method makes no difference for one scale, and without a mode there is none to remove.
        pointless = options.normalize is None if "normalize" in change else "method" in change and levels == 1
        if simpler != options and not pointless:
            yield draw._replace(options=simpler)
    if options.data_range != 1 and draw.dtype != "uint8":
        x, y = (round_to_dtype(image / options.data_range, draw.dtype) for image in (draw.x, draw.y))
        yield draw._replace(x=x, y=y, options=options._replace(data_range=1.0))


def _plain_values(draw: Draw) -> Iterator[Draw]:
    for name in ("x", "y"):
        image = getattr(draw, name)
        candidates = []
        for axis in range(1, image.ndim):
            middle = image.shape[axis] // 2
            for position in (0, middle, -1):
                line = np.take(image, [position], axis)
                candidates.append(np.broadcast_to(line, image.shape))
        for digits in (1, 2, 3):
            candidates.append(_rounded(image, draw.options.data_range, digits))
        cost = _cost(image)
        for candidate in candidates:
            candidate = np.ascontiguousarray(round_to_dtype(np.array(candidate), draw.dtype))
            if _cost(candidate) < cost:
                yield draw._replace(x=candidate) if name == "x" else draw._replace(y=candidate)


def _rounded(image: NDArray[np.float64], data_range: float, digits: int) -> NDArray[np.float64]:
    unit = data_range * 10.0**-digits
    return np.round(image / unit) * unit if np.isfinite(image / unit).all() else image


def _cost(image: NDArray[np.float64]) -> int:
    return len(literal(image))


def literal(image: NDArray[np.float64]) -> str:
    """Return an array as Python code, with runs of equal entries shortened."""
    return _list([literal(part) if part.ndim else repr(float(part)) for part in image])


def _list(parts: list[str]) -> str:
    runs: list[list] = []
    for part in parts:
        if runs and runs[-1][0] == part:
            runs[-1][1] += 1
        else:
            runs.append([part, 1])
    if len(runs) == 1 and runs[0][1] > 1:
        return f"[{runs[0][0]}] * {runs[0][1]}"
    if all(count < 4 for _, count in runs):
        return "[" + ", ".join(parts) + "]"
    return "[" + ", ".join(part if count == 1 else f"*[{part}] * {count}" for part, count in runs) + "]"


def as_test(draw: Draw, backend: str, name: str, note: str) -> str:
    """Return the call as a test for pytest."""
    given = {key: value for key, value in draw.options._asdict().items() if value != getattr(DEFAULTS, key)}
    options = ", ".join(f"{key}={value!r}" for key, value in given.items())
    more = ""
    if draw.mask is not None:
        hidden = None if draw.hidden is None else f"float({str(draw.hidden)!r})"
        more = f", np.array({literal(draw.mask)}), {draw.mask_dtype!r}, {hidden}"
    if draw.padding != "valid":
        more += f", padding={draw.padding!r}"
    return f"""\
def test_{name}():
    # {note}
    x = np.array({literal(draw.x)})
    y = np.array({literal(draw.y)})
    draw = fuzz.Draw({draw.kind!r}, x, y, {draw.dtype!r}, longdouble.Options({options}){more})
    assert fuzz.failures(draw, {backend!r}) == []
"""


IMPORTS = """\
import numpy as np

from reference import longdouble
from validation import fuzz
"""
