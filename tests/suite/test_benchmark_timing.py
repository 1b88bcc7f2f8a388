"""Timing in rounds, skipping of slow implementations, and the ceilings of the machine."""

import pytest
from benchmarking import CASE, SLOW, TINY, make_implementation

from benchmarks import (
    cases,
    ceilings,
    measure,
    rows,
    timing,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")


class Clock:
    """A clock that advances only when a call does."""

    def __init__(self):
        self.now, self.order, self.pace = 0.0, [], 1.0

    def call(self, name, seconds):
        def pass_time():
            self.now += seconds * self.pace
            self.order.append(name)

        return timing.Entry(pass_time)

    def time(self, entries, rounds):
        return timing.interleaved(entries, seconds=0, rounds=rounds, sample=self.sampler())

    def sampler(self, synchronize=lambda: None):
        return timing.sampler(synchronize, lambda: self.now)


def test_implementations_are_timed_in_random_order():
    clock = Clock()
    names = ["a", "b", "c"]
    timed = clock.time({name: clock.call(name, 0.1) for name in names}, (8, 8))
    rounds = [tuple(clock.order[i : i + 3]) for i in range(len(clock.order) - 24, len(clock.order), 3)]
    assert all(sorted(each) == names for each in rounds) and len(set(rounds)) > 2
    assert timed["a"].samples == pytest.approx((0.1,) * 8)


def test_drift_does_not_change_ratios():
    clock = Clock()
    first, second = clock.call("first", 0.1), clock.call("second", 0.2)

    def slowing():
        first.call()
        clock.pace *= 1.05

    timed = clock.time({"first": timing.Entry(slowing), "second": second}, (20, 20))
    assert timed["first"].samples[-1] > 2 * timed["first"].samples[0]
    assert timing.ratios(timed["second"], timed["first"]).median == pytest.approx(2, rel=0.06)


def test_samples_of_short_calls_have_many_calls_and_a_warm_up():
    clock = Clock()
    timed = clock.time({"short": clock.call("short", 1e-3), "long": clock.call("long", 0.5)}, (3, 3))
    assert (timed["short"].calls, timed["long"].calls) == (4, 1)
    assert timed["short"].samples == pytest.approx((1e-3,) * 3)
    assert clock.order.count("short") == 2 + 3 * (1 + 4) and clock.order.count("long") == 1 + 3


def test_synchronization_is_timed():
    clock = Clock()

    def synchronize():
        clock.now += 1

    timed = timing.interleaved(
        {"queued": timing.Entry(lambda: None)}, seconds=0, rounds=(3, 3), sample=clock.sampler(synchronize)
    )
    assert timed["queued"].samples == (1, 1, 1)


def test_quartiles_and_ratios():
    assert timing.quartiles([4, 1, 2, 3, 5]) == (3, 2, 4)
    two, one = timing.Timed((2.0, 4.0, 60.0), 1, (0, 1, 2)), timing.Timed((1.0, 2.0, 30.0), 1, (0, 1, 2))
    assert timing.ratios(two, one) == (2, 2, 2)
    assert timing.ratios(two._replace(samples=(3.0, 90.0), rounds=(0, 3)), one) == (3, 3, 3)


def test_slow_implementation_skips_rounds_evenly():
    clock = Clock()
    entries = {"fast": clock.call("fast", 0.1), "slow": clock.call("slow", 3.0)}
    timed = timing.interleaved(entries, seconds=8, rounds=(4, 100), sample=clock.sampler())
    assert timed["fast"].rounds == tuple(range(40)) and timed["slow"].rounds == (9, 19, 29, 39)
    assert len(timed["slow"].samples) == 4
    assert timing.ratios(timed["slow"], timed["fast"]).median == pytest.approx(30)


def test_implementation_that_is_slow_on_small_images_skips_large_ones():
    mode = TINY._replace(max_call_seconds=SLOW / 3)
    bench = measure.Bench((make_implementation("slow", pause=SLOW),), mode)
    small, large = CASE._replace(mode=cases.FORWARD), CASE._replace(mode=cases.FORWARD, shape=(1, 1, 480, 400))
    for case, note in ((small, "a call takes"), (large, "a call would take about")):
        (row,) = bench.time(case)
        assert row["verdict"] == rows.LEFT_OUT and note in row["note"] and "seconds" not in row
    assert bench.too_slow(bench.implementations[0], large, factor=1000) is None


def test_slow_implementation_is_skipped_sooner_when_time_runs_short():
    bench = measure.Bench((make_implementation("slow", pause=SLOW),), TINY._replace(max_call_seconds=10 * SLOW))
    verdicts = [
        bench.time(CASE._replace(mode=cases.FORWARD), time_fraction)[0]["verdict"] for time_fraction in (1.0, 0.01)
    ]
    assert verdicts == [rows.OK, rows.LEFT_OUT]


def test_floor_of_known_ceilings():
    machine = ceilings.Ceilings("cpu", 1, copy=1e10, multiply_adds=1e9)
    one = cases.Case("ssim", cases.FORWARD, (2, 3, 11, 20))
    assert ceilings.floor(one, machine)[1] == ceilings.MULTIPLY_ADD
    assert ceilings.floor(one, machine)[0] == pytest.approx(2 * 3 * 10 * 88 / 1e9)
    both = one._replace(mode=cases.FORWARD_BACKWARD)
    assert ceilings.floor(both, machine)[0] == pytest.approx(2 * 3 * 10 * 154 / 1e9)
    seconds, bound = ceilings.floor(both._replace(dtype="uint8"), machine._replace(multiply_adds=1e15))
    assert bound == ceilings.COPY and seconds == pytest.approx(2 * 3 * 11 * 20 * 3 / 1e10)
    fast = machine._replace(device="cuda", multiply_adds=1e15)
    assert ceilings.floor(both._replace(device="cuda"), fast)[0] == pytest.approx(2 * 3 * 11 * 20 * 20 / 1e10)
    assert ceilings.floor(one._replace(device="cuda"), fast)[0] == pytest.approx(2 * 3 * 11 * 20 * 8 / 1e10)
    pyramid = cases.Case("msssim", cases.FORWARD, (1, 1, 23, 45))  # 23 x 45, then 12 x 23
    assert ceilings.floor(pyramid, machine)[0] == pytest.approx((13 * 35 + 2 * 13) * 88 / 1e9)


def test_ceilings_are_measured_with_the_given_threads():
    found = ceilings.measure("cpu", 1)
    assert found.threads == 1 and found.copy > 1e8 and found.multiply_adds > 1e8
    best = ceilings.best([found, found._replace(copy=2 * found.copy, multiply_adds=1.0)])
    assert best.copy == 2 * found.copy and best.multiply_adds == found.multiply_adds
