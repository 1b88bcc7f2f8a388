"""Faults to plant in the mathematics, one at a time, and the tests that have to fail for each.

python -m tests.mutants                     plant them all and write results.json
python -m tests.mutants --check             only check that every fault can still be planted
python -m tests.mutants plain numba-halve   faults whose names begin so; nothing is written without --out, which
                                            replaces the results of these faults in an existing file

The faults are planted in a copy of the working tree. A fault counts as found when one of its tests fails with it and
passes without it. A fault that changes no result, so that no test can fail, says why in `harmless`.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """A change of one text in one file, and the tests that should fail."""

    name: str
    """Begins with the backend: plain, numba or triton."""
    file: str
    old: str
    """Occurs exactly once in the file."""
    new: str
    tests: tuple
    """Paths or node ids for pytest."""
    meaning: str
    """What the fault makes wrong."""
    harmless: str = ""
    """Why no test can fail, for the few changes that change no result."""
