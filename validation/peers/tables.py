"""The section of the report on other implementations: tables, and the heat map of deviations."""

import math

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm

from .. import tolerances
from ..report import plots
from ..report.section import BROKEN, PASS, Figure, Section, Table, number
from .cases import KINDS
from .measure import CLOSEST, COMPLEX, DEFAULTS, MATLAB, REFUSED, SCALES, Gradient, Side, Value

TITLE = "What do other implementations compute?"
TEXT = """Each peer is called through its public API, with its settings as close to Wang's as they go ("closest"), and
where that makes a difference as it is out of the box ("defaults"). The deviation is the absolute difference from what
Wang's MATLAB code returned, or from `reference/wang.py` in float64 where it was not run; images are float32 in 0..255
unless a column says otherwise.

The causes are not claims: the number of each peer is computed again in float64 by Wang's algorithm with the peer's own
decisions in place of his, and what remains of the difference is rounding. What a cause is worth is how much that number
changes when that decision alone is taken back."""
METRICS = {"ssim": "SSIM", "msssim": "MS-SSIM"}
_PICTURES = ("even", "odd", "mixed", "colour")
# Where an implementation is said to give Wang's number: what float32 without a shift loses on ordinary pictures.
ALIKE = 1e-4
_LEAST, _MOST = 1e-7, 1.0  # of the heat map's colours


def made_of(own, peers, obstacles, values, gradients, gradients_matlab, sides):
    """The Section of measurements (see `conformance_measure`); `own` are this library's backends."""
    values = pd.DataFrame(values, columns=Value._fields)
    slopes = pd.DataFrame([*gradients, *gradients_matlab], columns=Gradient._fields)
    sides = pd.DataFrame(sides, columns=Side._fields)
    closest = values[(values.settings == CLOSEST) & (values.dtype != "float64")]
    names = [peer.name for peer in own]
    tables = [_deviations(closest), _causes(values), _defaults(values), _slopes(slopes), _sides(sides)]
    return Section(
        "peers", TITLE, TEXT, tuple(table for table in (*tables, _peers(peers, obstacles)) if len(table.frame)),
        (_heat_map(closest),), *_verdict(names, closest, slopes, len(obstacles)),
        {"peers.csv": values, "peers.json": _summary(values), "peers_gradients.csv": slopes, "peers_sides.csv": sides},
    )  # fmt: skip


def _verdict(own, values, slopes, missing):
    """Budgets are this library's; what others compute has none."""
    ours = values[values.peer.isin(own)]
    budgeted = [tolerances.budget("value", row.dtype, row.peer.partition(", ")[2]).worst for row in ours.itertuples()]
    # Where Wang has no number, or refuses, there is nothing to keep.
    due = (ours.state == "") & ours.wang.notna()
    wrong = int((due & ~(ours.deviation <= budgeted)).sum())
    of_images = slopes[slopes.peer.isin(own) & (slopes.state == "") & (slopes.kind != "bfloat16")]
    wrong += int((~(of_images.deviation <= tolerances.BUDGETS["gradient", "float32"].worst)).sum())
    pictures = values[values.kind.isin(_PICTURES) & ~values.peer.isin(own) & (values.metric == "msssim")]
    worst = pictures.groupby("peer", sort=False).deviation.max()
    alike = [name for name, one in worst.items() if one <= ALIKE]
    summary = (
        "This library keeps its tolerances on every kind of image. "
        if not wrong
        else f"This library breaks {wrong} tolerances. "
    )
    summary += (
        f"Of {len(worst)} others with MS-SSIM, {len(alike)} ({', '.join(alike) or 'none'}) give Wang's number within "
        f"{ALIKE:g} on even, odd, mixed and colour images; {missing} could not be imported."
    )
    return BROKEN if wrong else PASS, summary


def _rows(values):
    """((peer, metric), rows) in the order of appearance, SSIM first."""
    for metric in METRICS:
        for peer, rows in values[values.metric == metric].groupby("peer", sort=False):
            yield (peer, METRICS[metric]), rows


def _by_kind(values, kinds, cell):
    lines = [(*key, *(cell(rows[rows.kind == kind]) for kind in kinds)) for key, rows in _rows(values)]
    return pd.DataFrame(lines, columns=["peer", "index", *kinds])


def _deviations(values):
    kinds = "; ".join(f"{kind}: {text}" for kind, text in KINDS.items())
    return Table(
        f"Largest deviation from Wang by kind of image, settings as close to his as they go. {kinds}. The original's "
        "MS-SSIM is complex where a mean of cs is negative: the cell says what comes instead. It refuses MS-SSIM below "
        "176 pixels, where the deviation is from its formula carried on as far as a window fits.",
        _by_kind(values, KINDS, _cell),
    )


def _defaults(values):
    changed = values[values.settings == DEFAULTS]
    return Table(
        "Largest deviation out of the box, of those whose defaults are not the closest settings. Images and, where it "
        "is not guessed, their range are all that is given.",
        _by_kind(changed, [kind for kind in KINDS if kind not in ("bfloat16", "not 5 scales")], _cell),
    )


def _cell(rows):
    """The worst deviation, and in words what has none."""
    parts = []
    if rows.deviation.notna().any():
        parts.append(number(rows.deviation.max()))
    instead = {
        "NaN" if math.isnan(value) else "0" if value == 0 else "a number" for value in rows.value[rows.state == COMPLEX]
    }
    parts += [f"{', '.join(sorted(instead))} for complex"] if instead else []
    plain = rows[(rows.state == "") & rows.deviation.isna()]
    parts += ["NaN"] if (plain.value.isna() & plain.wang.notna()).any() else []
    parts += ["a number for none"] if (plain.value.notna() & plain.wang.isna()).any() else []
    refused = int((rows.state == REFUSED).sum())
    if refused:
        parts.append("refuses" if refused == len(rows) else f"refuses {refused} of {len(rows)}")
    return "; ".join(parts) or "–"


def _causes(values):
    """What every difference comes from, and what is left when it is emulated."""
    lines = []
    for settings in (CLOSEST, DEFAULTS):
        for key, rows in _rows(values[values.settings == settings]):
            narrow = rows[rows.dtype == "float32"]
            left = [rows.left[(rows.dtype == dtype)].max() for dtype in ("float64", "float32", "bfloat16")]
            lines.append((*key, settings, narrow.deviation.max(), _in_words(rows), *left))
    names = ["peer", "index", "settings", "deviation", "causes", "left, float64", "left, float32", "left, bfloat16"]
    return Table(
        "Causes. The largest deviation in float32 on any kind of image; what it comes from, with how much each cause "
        "alone changes the value at most; and what is left of the deviation when the convention is emulated, which is "
        "the rounding of that dtype; where a guessed range makes the constants vanish, on flat images, rounding alone "
        "decides. float64, and what takes seconds, on images of at most 120 000 numbers.",
        pd.DataFrame(lines, columns=names),
        dict.fromkeys((names[3], *names[5:]), number),
        prose=("causes",),
    )


def _in_words(rows):
    effects = pd.DataFrame(list(rows.effects.dropna())).max().sort_values(ascending=False)
    return "; ".join(f"{cause} {number(one)}" for cause, one in effects.items() if one > 1e-7) or "none"


def _slopes(slopes):
    def cell(rows):
        parts = [number(rows.deviation.max())] if rows.deviation.notna().any() else []
        parts += sorted({f"{note} for complex" for note in rows.note[rows.state == COMPLEX]})
        parts += sorted(set(rows.note[(rows.state == "") & rows.deviation.isna()]))
        refused = int((rows.state == REFUSED).sum())
        if refused:
            parts.append("–" if refused == len(rows) else f"none for {refused} of {len(rows)}")
        return "; ".join(parts) or "–"

    return Table(
        "Largest deviation of the gradient, settings as close to Wang's as they go. Relative to the largest entry: "
        f"in column {MATLAB} against central differences of Wang's code at sampled pixels, else every entry against "
        "this library's plain backend in float64. Where the original is complex: is it NaN, zero or finite?",
        _by_kind(slopes, [MATLAB, *KINDS], cell),
    )


def _sides(sides):
    columns = [f"{scales} scales" for scales in SCALES]
    frame = sides.assign(scales=[f"{scales} scales" for scales in sides.scales]).pivot(
        index="peer", columns="scales", values="side"
    )
    frame = frame.reindex(sides.peer.unique()).reindex(columns=columns)
    wang = pd.DataFrame([[11.0 * 2 ** (scales - 1) for scales in SCALES]], columns=columns, index=["Wang"])
    frame = pd.concat([wang, frame]).rename_axis("peer").reset_index()
    return Table(
        "The smallest square image that each gives a number for. Empty where the number of scales cannot be chosen; "
        "\"not finite\" where no side up to 400 is taken.", frame, dict.fromkeys(columns, number),
    )  # fmt: skip


def _peers(peers, obstacles):
    lines = [
        (peer.name, "–" if peer.name in obstacles else peer.version(), peer.convention, obstacles.get(peer.name, ""))
        for peer in peers
    ]
    return Table(
        "The peers. What each computes, and why some could not be asked.",
        pd.DataFrame(lines, columns=["peer", "version", "convention", "not measured because"]),
        prose=("convention", "not measured because"),
    )


def _summary(values):
    keys = ["peer", "metric", "settings", "kind", "dtype"]
    grouped = values.groupby(keys, sort=False)
    summary = grouped.agg(pairs=("pair", "size"), deviation=("deviation", "max"), left=("left", "max")).reset_index()
    summary["refused"] = [int((rows.state == REFUSED).sum()) for _, rows in grouped]
    summary["complex"] = [int((rows.state == COMPLEX).sum()) for _, rows in grouped]
    return summary


def _heat_map(values):
    """Peers by kinds of image, the colour by the deviation."""
    keys, cells = zip(*_rows(values), strict=True)
    worst = np.array([[rows.deviation[rows.kind == kind].max() for kind in KINDS] for rows in cells], dtype=float)
    figure, axes = plots.new(0.27 * len(keys) + 1.6)
    norm = LogNorm(_LEAST, _MOST)
    mesh = axes.pcolormesh(np.ma.masked_invalid(worst.clip(_LEAST, _MOST)), cmap="cividis", norm=norm, linewidth=0)
    for row, column in np.ndindex(worst.shape):
        one = worst[row, column]
        if math.isnan(one):
            text, colour = _short(cells[row][cells[row].kind == list(KINDS)[column]]), plots.INK
        else:
            text = "0" if one == 0 else f"{one:.0e}".replace("e-0", "e-").replace("e+00", "")
            colour = "white" if norm(max(one, _LEAST)) < 0.55 else "black"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_xticks(
        np.arange(len(KINDS)) + 0.5, [kind.replace(" ", "\n", 1).replace("-", "-\n") for kind in KINDS], fontsize=7.5
    )
    axes.set_yticks(np.arange(len(keys)) + 0.5, [f"{peer}   {index}" for peer, index in keys], fontsize=7.5)
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(False)
    bar = figure.colorbar(mesh, ax=axes, location="bottom", aspect=50, pad=0.01, extend="both")
    bar.set_label("largest deviation from Wang (absolute, no unit; the index is at most 1)", fontsize=8)
    return Figure(
        "peers",
        "Deviation from Wang, peers by kinds of image. Settings as close to Wang's as they go, float32 unless the "
        "column says otherwise. Dark is near, bright is far; without colour there is no deviation to show: the peer "
        "refuses or gives NaN, or Wang's number is complex.",
        plots.svg(figure, "peers"),
    )


def _short(rows):
    if rows.empty:
        return "–"
    if (rows.state == REFUSED).all():
        return "refuses"
    return "complex" if (rows.state == COMPLEX).any() else "NaN"
