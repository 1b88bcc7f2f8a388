"""The table made of a profile of Nsight Compute."""

import math

import pytest

from benchmarks import profile

# Written by hand in the form of `ncu --set full --csv --page raw`: names, units, then one line for each launch.
COLUMNS = {
    "ID": ("", "0", "1"),
    "Kernel Name": ("", "sweep", "pyramid_backward"),
    "gpu__time_duration.sum": ("us", "1,234.50", "12.00"),
    "launch__block_size": ("", "128", "128"),
    "launch__grid_size": ("", "1,056", "48"),
    "launch__registers_per_thread": ("register/thread", "255", "40"),
    "launch__occupancy_limit_registers": ("block", "2", "12"),
    "launch__occupancy_limit_warps": ("block", "16", "10"),
    "launch__occupancy_limit_blocks": ("block", "32", "32"),
    "smsp__issue_active.avg.pct_of_peak_sustained_active": ("%", "71.25", "30.00"),
    "sm__warps_active.avg.pct_of_peak_sustained_active": ("%", "12.10", "60.00"),
    "sm__maximum_warps_per_active_cycle_pct": ("%", "12.50", "62.50"),
    "smsp__average_warps_issue_stalled_barrier_per_issue_active.ratio": ("inst", "0.50", "0"),
    "smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio": ("inst", "1.75", "9.5"),
    "smsp__average_warps_issue_stalled_math_pipe_throttle_per_issue_active.ratio": ("inst", "0.20", "0"),
    "smsp__average_warps_issue_stalled_not_selected_per_issue_active.ratio": ("inst", "0.10", "0.1"),
    "smsp__average_warps_issue_stalled_selected_per_issue_active.ratio": ("inst", "1.00", "1.00"),
    "smsp__average_warps_issue_stalled_long_scoreboard_not_issued_per_issue_active.ratio": ("inst", "1.70", "9"),
    "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum": ("sector", "2,000", "0"),
    "l1tex__t_sectors_pipe_lsu_mem_global_op_ld_lookup_hit.sum": ("sector", "1,500", "0"),
    "l1tex__t_sector_hit_rate.pct": ("%", "80", "33"),
    "lts__t_sector_hit_rate.pct": ("%", "55.5", "n/a"),
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": ("%", "24", "80"),
}
TEXT = "==PROF== Connected to process 1\n" + "\n".join(
    ",".join(f'"{field}"' for field in line) for line in (tuple(COLUMNS), *zip(*COLUMNS.values(), strict=True))
)


def test_what_binds_a_kernel():
    sweep, backward = profile.launches(TEXT)
    assert sweep == profile.Launch(
        "sweep", 1056, 128, pytest.approx(1.2345e-3), 255, 71.25, 12.1, 12.5, "registers",
        (("long_scoreboard", 1.75), ("barrier", 0.5), ("math_pipe_throttle", 0.2)), 75, 55.5, 24,
    )  # fmt: skip
    assert backward.limit == "warps"
    assert backward.l1_hits == 33  # nothing was loaded that counts: the rate of all accesses
    assert math.isnan(backward.l2_hits)


def test_the_table_has_a_line_for_each_launch(tmp_path, capsys):
    (tmp_path / "profile.csv").write_text(TEXT)
    assert profile.main([str(tmp_path / "profile.csv")]) == 0
    header, sweep, backward = capsys.readouterr().out.splitlines()
    assert header.split()[:6] == ["kernel", "blocks", "threads", "µs", "registers", "issue"]
    assert sweep.split()[:8] == ["sweep", "1056", "128", "1234.5", "255", "71", "12/12", "registers"]
    assert "long_scoreboard 1.75, barrier 0.50" in sweep
    assert backward.startswith("pyramid_backward")


def test_metrics_that_are_missing_are_nan():
    (found,) = profile.launches('"ID","Kernel Name"\n"",""\n"0","sweep"\n')
    assert found.kernel == "sweep" and math.isnan(found.issue) and found.stalls == () and found.limit == "?"
    assert "nan" in profile.table([found])


@pytest.mark.parametrize("text", ["", "==ERROR== no permission\n", '"ID","Name"\n"",""\n'])
def test_another_file_is_refused(tmp_path, capsys, text):
    (tmp_path / "profile.csv").write_text(text)
    with pytest.raises(SystemExit):
        profile.main([str(tmp_path / "profile.csv")])
    assert "the profile must have" in capsys.readouterr().err
