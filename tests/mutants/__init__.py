"""Faults planted in the mathematics, one at a time, and the tests that have to notice each.

python -m tests.mutants                     plant them all and write results.json
python -m tests.mutants --check             only check that every fault can still be planted
python -m tests.mutants plain numba-halve   those whose names begin so; nothing is written without --out, which
                                            replaces the results of these faults in a file that is there

The faults are planted in a copy of the working tree. A fault counts as found when one of its tests fails with it and
passes without it. A fault that no test can see, because it changes nothing, says why in `harmless`.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """A change to one place of one file, and what should fail then."""

    name: str
    """Begins with the backend: plain, numba or triton."""
    file: str
    old: str
    """Occurs exactly once in the file."""
    new: str
    tests: tuple
    """Paths or node ids for pytest."""
    meaning: str
    """What is wrong then."""
    harmless: str = ""
    """Why no test has to fail, for the few changes that are no fault."""
