"""The report section on other implementations: tables, and the heat map of deviations."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm

from reference.peers import Peer

from .. import tolerances
from ..report import plots
from ..report.section import BROKEN, PASS, Figure, Section, Table, number
from .cases import KINDS
from .measure import (
    CLOSEST,
    COMPLEX,
    DEFAULTS,
    MATLAB,
    REFUSED,
    SCALES,
    Gradient,
    Measurements,
    Side,
    Value,
)

TITLE = "What do other implementations compute?"
TEXT = """Each peer is called through its public API, with settings as close to Wang's as possible ("closest"), and
where that makes a difference also with its default settings ("defaults"). The deviation is the absolute difference from
the value of Wang's MATLAB code, or of `reference/wang.py` in float64 where the MATLAB code was not run. Images are
float32 in 0..255 unless a column says otherwise.

The causes are verified: the value of each peer is emulated in float64 by Wang's algorithm with the peer's decisions.
The residual, which is the difference from this emulation, is rounding error. The effect of a cause is how much the
emulated value changes when Wang's decision is restored for that cause only."""
METRICS = {"ssim": "SSIM", "msssim": "MS-SSIM"}
_ORDINARY_KINDS = ("even", "odd", "mixed", "colour")
# The deviation up to which a peer is said to agree with Wang: the rounding error of float32 on ordinary images when
# the moments are not shifted.
AGREEMENT = 1e-4
_MIN_COLOUR, _MAX_COLOUR = 1e-7, 1.0  # deviations at the ends of the heat map's colours

KINDS_IN_WORDS = "; ".join(f"{kind}: {text}" for kind, text in KINDS.items())

Cell = Callable[[pd.DataFrame], str]


def make_section(
    own: Sequence[Peer], peers: Sequence[Peer], unavailable: Mapping[str, str], measured: Measurements
) -> Section:
    """Return the section; `own` are this library's backends, `unavailable` the reason by name of a peer."""
    values = pd.DataFrame(measured.values, columns=Value._fields)
    gradients = pd.DataFrame(measured.gradients, columns=Gradient._fields)
    sides = pd.DataFrame(measured.sides, columns=Side._fields)
    closest = values[(values.settings == CLOSEST) & (values.dtype != "float64")]
    tables = (
        _deviations(closest), _causes(values), with_defaults(values, _deviation_cell), gradient_errors(gradients),
        smallest_sides(sides), _peers(peers, unavailable),
    )  # fmt: skip
    verdict, summary = _verdict([peer.name for peer in own], closest, gradients, len(unavailable))
    data = {
        "peers.csv": values,
        "peers_summary.csv": _summary(values),
        "peers_gradients.csv": gradients,
        "peers_sides.csv": sides,
    }
    shown = tuple(table for table in tables if len(table.frame))
    return Section("peers", TITLE, TEXT, shown, (heat_map(closest),), verdict, summary, data)


def _verdict(own: list[str], values: pd.DataFrame, gradients: pd.DataFrame, missing: int) -> tuple[str, str]:
    """Return verdict and summary; only this library has budgets."""
    ours = values[values.peer.isin(own)]
    limits = [tolerances.budget("value", row.dtype, row.peer.partition(", ")[2]).worst for row in ours.itertuples()]
    comparable = (ours.state == "") & ours.wang.notna()  # Wang has a real value, and accepts the size
    exceeded = int((comparable & ~(ours.deviation <= limits)).sum())
    ours = gradients[gradients.peer.isin(own) & (gradients.state == "") & (gradients.kind != "bfloat16")]
    exceeded += int((~(ours.deviation <= tolerances.BUDGETS["gradient", "float32"].worst)).sum())
    others = values[values.kind.isin(_ORDINARY_KINDS) & ~values.peer.isin(own) & (values.metric == "msssim")]
    worst = others.groupby("peer", sort=False).deviation.max()
    agreeing = [str(name) for name, deviation in worst.items() if deviation <= AGREEMENT]
    first = f"This library exceeds {exceeded} budgets." if exceeded else "This library meets its budgets on all images."
    summary = (
        f"{first} Of {len(worst)} others with MS-SSIM, {len(agreeing)} ({', '.join(agreeing) or 'none'}) agree with "
        f"Wang within {AGREEMENT:g} on even, odd, mixed and colour images; {missing} could not be imported."
    )
    return BROKEN if exceeded else PASS, summary


def _by_peer(values: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield ((peer, name of the metric), rows), SSIM first."""
    for metric, name in METRICS.items():
        for peer, rows in values[values.metric == metric].groupby("peer", sort=False):
            yield (str(peer), name), rows


def by_kind(values: pd.DataFrame, kinds: Iterable[str], cell: Cell) -> pd.DataFrame:
    """Return one row for each peer and index, one column for each kind of image."""
    lines = [(*key, *(cell(rows[rows.kind == kind]) for kind in kinds)) for key, rows in _by_peer(values)]
    return pd.DataFrame(lines, columns=["peer", "index", *kinds])


def _deviations(values: pd.DataFrame) -> Table:
    return Table(
        f"Largest deviation from Wang by kind of image, closest settings. {KINDS_IN_WORDS}. Where a mean of "
        "cs is negative, the original's MS-SSIM is complex: the cell shows what the peer returns. The original refuses "
        "MS-SSIM below 176 pixels; there the deviation is from its formula, extended to all sizes that fit the window.",
        by_kind(values, KINDS, _deviation_cell),
    )


def with_defaults(values: pd.DataFrame, cell: Cell) -> Table:
    """Return the table of the deviations with default settings, with which two kinds of image are not measured."""
    changed = values[values.settings == DEFAULTS]
    return Table(
        "Largest deviation with default settings, where they differ from the closest settings. Only the images are "
        "given, and their data range if the peer does not guess it.",
        by_kind(changed, [kind for kind in KINDS if kind not in ("bfloat16", "not 5 scales")], cell),
    )


def _deviation_cell(rows: pd.DataFrame) -> str:
    """Return the largest deviation, and in words the rows without one."""
    parts = []
    if rows.deviation.notna().any():
        parts.append(number(rows.deviation.max()))
    for_complex = {
        "NaN" if math.isnan(value) else "0" if value == 0 else "a number" for value in rows.value[rows.state == COMPLEX]
    }
    parts += [f"{', '.join(sorted(for_complex))} for complex"] if for_complex else []
    undefined = rows[(rows.state == "") & rows.deviation.isna()]
    parts += ["NaN"] if (undefined.value.isna() & undefined.wang.notna()).any() else []
    parts += ["a number for none"] if (undefined.value.notna() & undefined.wang.isna()).any() else []
    refused = int((rows.state == REFUSED).sum())
    if refused:
        parts.append("refuses" if refused == len(rows) else f"refuses {refused} of {len(rows)}")
    return "; ".join(parts) or "–"


def _causes(values: pd.DataFrame) -> Table:
    """Return the causes of every difference, and the residuals."""
    lines = []
    for settings in (CLOSEST, DEFAULTS):
        for key, rows in _by_peer(values[values.settings == settings]):
            deviation = rows[rows.dtype == "float32"].deviation.max()
            residuals = [rows.residual[rows.dtype == dtype].max() for dtype in ("float64", "float32", "bfloat16")]
            lines.append((*key, settings, deviation, _effects(rows), *residuals))
    numbers = ["residual, float64", "residual, float32", "residual, bfloat16"]
    return Table(
        "Causes. The largest deviation in float32 on any kind of image; its causes, each with its largest effect on "
        "the value; and the residual under the emulation, which is the rounding error of that dtype. On constant "
        "images, where a guessed data range is 0 and the constants vanish, the value is rounding error only. Images "
        "with at most 120 000 values are also measured in float64 and by slow peers.",
        pd.DataFrame(lines, columns=["peer", "index", "settings", "deviation", "causes", *numbers]),
        dict.fromkeys(("deviation", *numbers), number),
        prose=("causes",),
    )


def _effects(rows: pd.DataFrame) -> str:
    effects = pd.DataFrame(list(rows.effects.dropna())).max().sort_values(ascending=False)
    return "; ".join(f"{cause} {number(effect)}" for cause, effect in effects.items() if effect > 1e-7) or "none"


def gradient_errors(gradients: pd.DataFrame) -> Table:
    """Return the table of the errors of gradients."""
    return Table(
        "Largest deviation of the gradient, closest settings. Relative to its largest entry. Column "
        f"{MATLAB} compares sampled pixels with central differences of Wang's code; the other columns compare every "
        "entry with this library's plain PyTorch backend in float64. Where the original is complex, the cell says "
        "whether the gradient is NaN, zero or finite.",
        by_kind(gradients, [MATLAB, *KINDS], _gradient_cell),
    )


def _gradient_cell(rows: pd.DataFrame) -> str:
    parts = [number(rows.deviation.max())] if rows.deviation.notna().any() else []
    parts += sorted({f"{note} for complex" for note in rows.note[rows.state == COMPLEX]})
    parts += sorted(set(rows.note[(rows.state == "") & rows.deviation.isna()]))
    refused = int((rows.state == REFUSED).sum())
    if refused:
        parts.append("–" if refused == len(rows) else f"none for {refused} of {len(rows)}")
    return "; ".join(parts) or "–"


def smallest_sides(sides: pd.DataFrame) -> Table:
    """Return the table of the smallest images that each accepts."""
    columns = [f"{scales} scales" for scales in SCALES]
    named = sides.assign(scales=[f"{scales} scales" for scales in sides.scales])
    frame = named.pivot(index="peer", columns="scales", values="side")
    frame = frame.reindex(sides.peer.unique()).reindex(columns=columns)
    wang = pd.DataFrame([[11.0 * 2 ** (scales - 1) for scales in SCALES]], columns=columns, index=["Wang"])
    frame = pd.concat([wang, frame]).rename_axis("peer").reset_index()
    return Table(
        "The smallest square image that each accepts. Empty if the number of scales cannot be chosen; \"not finite\" "
        "if no side up to 400 is accepted.", frame, dict.fromkeys(columns, number),
    )  # fmt: skip


def _peers(peers: Sequence[Peer], unavailable: Mapping[str, str]) -> Table:
    lines = [
        (
            peer.name,
            "–" if peer.name in unavailable else peer.version(),
            peer.description,
            unavailable.get(peer.name, ""),
        )
        for peer in peers
    ]
    return Table(
        "The peers. What each computes, and why some were not measured.",
        pd.DataFrame(lines, columns=["peer", "version", "convention", "not measured because"]),
        prose=("convention", "not measured because"),
    )


def _summary(values: pd.DataFrame) -> pd.DataFrame:
    grouped = values.groupby(["peer", "metric", "settings", "kind", "dtype"], sort=False)
    summary = grouped.agg(
        pairs=("pair", "size"), deviation=("deviation", "max"), residual=("residual", "max")
    ).reset_index()
    summary["refused"] = [int((rows.state == REFUSED).sum()) for _, rows in grouped]
    summary["complex"] = [int((rows.state == COMPLEX).sum()) for _, rows in grouped]
    return summary


def heat_map(values: pd.DataFrame) -> Figure:
    """Return peers by kinds of image, coloured by deviation."""
    keys, cells = zip(*_by_peer(values), strict=True)
    worst = np.array([[rows.deviation[rows.kind == kind].max() for kind in KINDS] for rows in cells], dtype=float)
    figure, axes = plots.new(0.27 * len(keys) + 1.6)
    norm = LogNorm(_MIN_COLOUR, _MAX_COLOUR)
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(worst.clip(_MIN_COLOUR, _MAX_COLOUR)), cmap="cividis", norm=norm, linewidth=0
    )
    for row, column in np.ndindex(worst.shape):
        deviation = worst[row, column]
        if math.isnan(deviation):
            text, colour = _short_cell(cells[row][cells[row].kind == list(KINDS)[column]]), plots.INK
        else:
            text = "0" if deviation == 0 else f"{deviation:.0e}".replace("e-0", "e-").replace("e+00", "")
            colour = "white" if norm(max(float(deviation), _MIN_COLOUR)) < 0.55 else "black"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5, color=colour)
    labels = [kind.replace(" ", "\n", 1).replace("-", "-\n") for kind in KINDS]
    axes.set_xticks(np.arange(len(KINDS)) + 0.5, labels, fontsize=7.5)
    axes.set_yticks(np.arange(len(keys)) + 0.5, [f"{peer}   {index}" for peer, index in keys], fontsize=7.5)
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(False)
    label = "largest deviation from Wang (absolute, no unit; the index is at most 1)"
    bar = plots.colour_bar(figure, mesh, axes, label, location="bottom", aspect=50, pad=0.01, extend="both")
    bar.ax.xaxis.label.set_fontsize(8)
    return Figure(
        "peers",
        "Deviation from Wang, peers by kinds of image. Closest settings, float32 unless the column says otherwise. "
        "Dark is small, bright is large. Cells without colour have no deviation: the peer refuses or returns NaN, or "
        "Wang's value is complex.",
        plots.svg(figure, "peers"),
    )


def _short_cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "–"
    if (rows.state == REFUSED).all():
        return "refuses"
    return "complex" if (rows.state == COMPLEX).any() else "NaN"
