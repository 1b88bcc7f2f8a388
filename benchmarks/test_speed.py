"""The cases of --quick for pytest-benchmark: ``python -m pytest benchmarks --benchmark-group-by=param:case``.

What it prints is for a quick look; the reports are made by ``python -m benchmarks``, which takes turns.
"""

import pytest

from . import cases, checks, contestants, measure, rows

pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark: python -m pip install pytest-benchmark")
MODE = cases.MODES["quick"]


@pytest.mark.filterwarnings("default")  # peers have much to say about their own affairs
@pytest.mark.parametrize("name", [one.name for one in contestants.everyone(look=False) if not one.compiled])
@pytest.mark.parametrize("case", cases.cases(MODE, "cpu"), ids=lambda case: case.name.replace(" ", "-"))
def test_speed(case, name, benchmark):
    contestant = contestants.find(name, look=True)
    if contestant.obstacle or contestant.gap(case):
        pytest.skip(contestant.obstacle or f"{name} {contestant.gap(case)}")
    call = contestant.call(case, cases.images(case))
    try:
        result = call()
    except Exception as error:
        if measure.refusal(contestant, error) == rows.WRONG:
            raise
        pytest.skip(f"{name} refuses: {error}")
    checked = checks.check(contestant, case, result)
    assert checked.verdict in rows.GREEN, checked
    benchmark.extra_info |= {"error": checked.error, "gradient_error": checked.gradient_error}
    benchmark(call)
