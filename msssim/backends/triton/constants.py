"""The launch constants by compute capability: how the sweep is cut into programs, and how it is compiled.

They are in launch_constants.json, which ``python -m benchmarks.tune --device cuda`` measures and writes. They change
the time of a call, and the rounding of its result, but nothing else.
"""

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

PATH = pathlib.Path(__file__).with_name("launch_constants.json")
DEFAULT = "default"
"""The key of the constants of GPUs that were not measured."""


class Constants(NamedTuple):
    """The launch constants of a GPU. The defaults are estimates; no GPU has measured them."""

    threads: tuple[int, ...] = (128, 256)
    """Threads of a program that plans are made for."""
    fewest_rows: int = 8
    """The fewest rows of a tile, even."""
    small_pixels: int = 1 << 22
    """Up to this number of pixels in all planes, all scales are one launch: the image stays in the caches, so it may be
    read twice, and launches take longer than arithmetic."""
    resident_threads: int = 256
    """How many threads of the sweep a multiprocessor runs at once; the registers limit it."""
    half_full_time: float = 0.7
    """The time of a program on a multiprocessor with half of these threads, relative to a full one."""
    columns: int = 2
    """The most neighbouring columns of a thread, 1 or 2."""
    max_registers: int = 0
    """The most registers of a thread of the sweep, or 0 for the compiler's choice."""


def for_capability(capability: int) -> Constants:
    """The constants of a compute capability, such as 90 for sm_90.

    Those of the nearest earlier capability with the same major version, or the defaults if none was measured.
    """
    measured = [int(key) for key in table() if key != DEFAULT]
    earlier = [each for each in measured if each // 10 == capability // 10 and each <= capability]
    return table()[str(max(earlier)) if earlier else DEFAULT]


@functools.cache
def table() -> Mapping[str, Constants]:
    """The constants in launch_constants.json by compute capability, and the defaults."""
    return {key: from_json(entry) for key, entry in json.loads(PATH.read_text(encoding="utf-8")).items()}


def from_json(entry: Mapping[str, Any]) -> Constants:
    """The constants of an entry of the file; its key "measured" says on which GPU, and is not one of them."""
    fields = {name: entry[name] for name in Constants._fields}
    return Constants(**{**fields, "threads": tuple(fields["threads"])})
