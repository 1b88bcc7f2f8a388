"""The cases of --quick for pytest-benchmark: ``python -m pytest benchmarks --benchmark-group-by=param:case``.

This gives a quick overview. ``python -m benchmarks`` times in rounds and writes the reports.
"""

from typing import Any

import pytest

from . import checks, implementations, measure, rows
from .cases import Case, images
from .presets import PRESETS

pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark: python -m pip install pytest-benchmark")
PRESET = PRESETS["quick"]


@pytest.mark.filterwarnings("default")  # peers emit warnings about themselves
@pytest.mark.parametrize(
    "name", [one.name for one in implementations.all_implementations(check=False) if not one.compiled]
)
@pytest.mark.parametrize("case", PRESET.cases("cpu"), ids=lambda case: case.name.replace(" ", "-"))
def test_speed(case: Case, name: str, benchmark: Any) -> None:
    implementation = implementations.by_name(name, check=True)
    reason = implementation.unavailable_reason or implementation.unsupported_reason(case)
    if reason:
        pytest.skip(f"{name}: {reason}")
    call = implementation.bind(case, images(case))
    try:
        result = call()
    except Exception as error:
        if measure.verdict_on(implementation, error) == rows.WRONG:
            raise
        pytest.skip(f"{name} refuses: {error}")
    checked = checks.check(implementation, case, result)
    assert checked.verdict in rows.VALID, checked
    benchmark.extra_info |= {"error": checked.error, "gradient_error": checked.gradient_error}
    benchmark(call)
