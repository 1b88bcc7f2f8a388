"""Random calls against the long-double reference: ``python -m validation --fuzz N --seed S``.

`draws` makes the calls, each from the seed and its number alone; `check` compares a backend with the budgets on one;
`shrink` makes a failing call small and writes it as a test; `question` runs them all and makes the report.
"""

from .check import failures
from .draws import Draw

__all__ = ["Draw", "failures"]
