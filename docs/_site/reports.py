"""The pages of reports, made from the committed rows by the commands that make the reports."""

import pathlib
import re
import shutil
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).parents[2]
_TITLES = {
    "accuracy-amd-epyc-2-cores": "Accuracy of plain PyTorch and the CPU kernels",
    "sm_90-without-a-gpu": "Accuracy of the GPU kernels on an emulated GPU",
    "masks": "Masks: differences of other methods",
    "peers": "Other implementations: all tables",
    "random-calls": "Random calls",
    "subjective": "Agreement with subjective scores: all tables",
    "training": "Stability in real training",
    "tools": "Whose number is it? All values",
    "amd-epyc-milan-2-cores": "Speed on AMD EPYC (Milan), 2 cores",
    "amd-epyc-2-cores": "Speed on another AMD EPYC, 2 cores, with more peers",
    "amd-epyc-2-cores-compiled": "Speed beside compiled peers on another AMD EPYC, 2 cores",
}


def make(out: pathlib.Path) -> None:
    """Write one page for each folder of validation/reports and benchmarks/results to the folder `out`."""
    from benchmarks import report as benchmarks
    from validation import from_rows

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for folder in from_rows.folders(ROOT / "validation/reports"):
        _write(out, "validation", from_rows.render(_copy(folder, out)))
    for rows in sorted((ROOT / "benchmarks/results").glob("*/rows.json")):
        _write(out, "benchmarks", benchmarks.render(_copy(rows.parent, out) / "rows.json"))
    shutil.rmtree(out / _COPIES)


_COPIES = "made"


def _copy(folder: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    """Copy the rows of a folder, so that nothing is written beside the committed files."""
    copy = out / _COPIES / folder.name
    copy.mkdir(parents=True)
    for path in folder.iterdir():
        if path.suffix in (".csv", ".json"):
            shutil.copy(path, copy)
    return copy


def _write(out: pathlib.Path, kind: str, page: pathlib.Path) -> None:
    folder = page.parent
    text = (folder / "report.md").read_text(encoding="utf-8")
    title = _TITLES.get(folder.name, f"{kind.capitalize()}: {folder.name}")
    text = re.sub(r"\A# .*", f"# {title}", text)
    text = re.sub(r"!\[.*?\]\((plots/[^)]+)\)", lambda match: _picture(folder / match[1]), text)
    (out / f"{kind}-{folder.name}.md").write_text(text, encoding="utf-8")


def _picture(path: pathlib.Path) -> str:
    """Return the picture inside the page, where its colours follow the theme."""
    from validation.report import page

    image = str(page.themed(path.read_text(encoding="utf-8")))
    return "\n".join(("```{raw} html", '<div class="plot">', *_lines(image), "</div>", "```"))


def _lines(image: str) -> Iterable[str]:
    return (line for line in image.splitlines() if line.strip())
