"""The report: its files, the page in a browser, and the tables for a paper."""

import collections
import math
import re
import shutil
import subprocess

import browser
import numpy as np
import pandas as pd
import pytest

import datasets
from validation import __main__ as command
from validation import library
from validation.accuracy import gradients, rows, stability, tables, values
from validation.report import page, plots, section, write

LONG = "a_name_without_any_place_to_break_" * 6
AWKWARD = r'<b>50 % & "more"</b> of C:\dir_1, #2 {x^y} ~ $z$ | σ × μ ≤ 1e-05'
# One red pixel.
PIXEL = "data:image/gif;base64,R0lGODdhAQABAPAAAP8AAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="


def _measurements():
    base = rows.Measurement(values.MATLAB, "torch", "cpu", "float32", library.PRODUCT, "golden", "", "value")
    for rank, pair in enumerate(datasets.load("golden").names[::20]):
        one = base._replace(pair=pair, error=1e-8 * (rank + 1), value=0.5 + rank / 10, expected=0.5 + rank / 10)
        yield from (one, one._replace(backend="numba"), one._replace(section=values.WANG, quantity=library.SSIM))
        yield one._replace(section=gradients.FLOAT64, kind="gradient", value=math.nan, expected=math.nan)
    count = base._replace(section=stability.SECTION, dataset="provoking images", quantity="normalize='relu', product")
    yield count._replace(pair="black, both", kind="count", error=0.0)
    yield base._replace(section=values.TENSORFLOW, missing=rows.SKIPPED, note=f"needs {LONG}")


def _awkward():
    """A section with every kind of cell and caption."""
    frame = pd.DataFrame(
        {
            "text": ["b", AWKWARD, "a10", "a9"],
            "number": [2.0, math.nan, math.inf, -1e-7],
            "count": [1, 10, 9, 100],
            "verdict": ["pass", "broken", "", "skipped"],
            "remark": [LONG, "", AWKWARD, "`code`"],
        }
    )
    figure, axes = plots.new(2)
    axes.plot(np.arange(50), np.arange(50) % 7, "o", color=plots.SERIES["float32"][0], markersize=3)
    table = section.Table(f"Awkward. {AWKWARD}", frame, {"count": "05d"}, prose=("remark",))
    figures = (
        section.Figure("marks", "Marks. Fifty of them.", plots.svg(figure, "marks")),
        section.Figure("pixel", "Pixel. It is red.", PIXEL),
    )
    columns = {"database": ["live"], **{f"SROCC published {i}": [0.12345] for i in range(10)}, "verdict": ["pass"]}
    wide = section.Table("Wide. It has twelve columns.", pd.DataFrame(columns), {"SROCC published 1": ".3f"})
    text = "First `paragraph`.\n\nSecond."
    return section.Section("awkward", "Awkward things", text, (table, wide), figures, section.BROKEN, "One is broken.",
                           {"awkward.csv": frame})  # fmt: skip


@pytest.fixture(scope="module")
def sections():
    made = tables.make_sections(rows.frame(_measurements()), {"golden": datasets.load("golden")})
    return [*made, _awkward()]


@pytest.fixture(scope="module")
def folder(sections, tmp_path_factory):
    """A folder with a report of these sections."""
    out = tmp_path_factory.mktemp("report")
    write.write(out, sections, {"date": "2000-01-01 00:00 UTC", "command": "python -m validation " + LONG})
    return out


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    with browser.opened(tmp_path_factory.mktemp("profile")) as one:
        yield one


def test_every_file_is_written(folder):
    for name in ("report.html", "report.md", "report.tex", "report.json", "rows.csv", "pairs.csv", "plots/marks.svg",
                 "plots/pixel.gif", "plots/worst-1.svg", "awkward.csv"):  # fmt: skip
        assert (folder / name).stat().st_size > 40, name
    assert (folder / "plots/pixel.gif").read_bytes().startswith(b"GIF87a")


def test_verdicts_come_first_and_the_contents_are_complete(folder, sections):
    html, markdown = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "Budgets are broken, see: Awkward things." in html[: html.index("<nav")]
    for one in sections:
        assert one.summary in html[html.index("<main") : html.index("<nav")]
        assert f'<a href="#{one.name}">' in html and f'<section id="{one.name}">' in html
    tables = sum(len(one.tables) for one in sections)
    for label in (f"Table {tables}", f"Figure {sum(len(one.figures) for one in sections)}"):
        assert f">{label}</a>" in html and f"<b>{label}. " in html and f"**{label}. " in markdown
    assert f"Table {tables + 1}" not in html


def test_page_is_self_contained_small_and_escaped(folder):
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert len(html) < 700_000
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", html)
    assert not re.findall(r"<(?:link|iframe)\b|@import|url\((?!#)|<b>50", html)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', html)) <= set(ids)


def test_worst_pairs_are_shown_as_reference_distorted_and_map(sections):
    worst = [one for part in sections for one in part.figures if one.name.startswith("worst-")]
    assert len(worst) == 3
    assert datasets.load("golden").names[60] in worst[0].caption  # the largest error
    for one in worst:
        assert one.image.count("data:image/png;base64,") >= 3
        assert all(f">{title}<" in one.image for title in ("reference", "distorted", "SSIM map"))


def test_svg_has_every_mark_of_a_plot():
    figure, axes = plots.new(3)
    axes.plot(np.arange(1500), np.arange(1500) % 17, "^", color="#d55e00", alpha=0.5)
    references = re.findall(r"<use xlink:href=(\S+)", plots.svg(figure, "a"))
    assert max(collections.Counter(references).values()) == 1500


def test_files_are_made_again_from_the_stored_report(folder, tmp_path, capsys):
    shutil.copy(folder / "report.json", tmp_path)
    shutil.copytree(folder / "plots", tmp_path / "plots")
    assert command.main(["--render", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    for name in ("report.html", "report.md", "report.tex"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_picture_that_is_not_stored_is_left_out(folder, tmp_path):
    shutil.copy(folder / "report.json", tmp_path)
    write.render(tmp_path)
    html, markdown = ((tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "<svg" not in html and "<img" not in html and "plots/" not in markdown
    figures = html.count('<figure class="picture"')
    assert html.count(page.NO_PICTURE) == markdown.count(page.NO_PICTURE) == figures > 5


@pytest.mark.parametrize(("verdict", "mark"), [(section.PASS, "✓ "), (section.BROKEN, "✗ "), ("", "")])
def test_headline_has_a_mark_only_if_a_section_has_a_verdict(tmp_path, verdict, mark):
    part = section.Section("part", "Part", "", (), (), verdict)
    html = write.write(tmp_path, [part], {}, title="Title").read_text(encoding="utf-8")
    assert re.search(r'<p class="headline[ a-z]*">(.*)</p>', html)[1] == mark + write.headline([part])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_page_has_no_errors_overflow_or_low_contrast_in_a_browser(folder, chrome, width, scheme):
    chrome.open(folder / "report.html", width=width, scheme=scheme)
    assert chrome.console() == []
    assert chrome.overflowing() == []
    assert chrome.illegible() == []
    background = chrome.run("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    small = "return [...document.querySelectorAll('.picture svg, img')].filter((one) => one.clientWidth < 300).length"
    assert chrome.run(small) == 0
    if width == 1280:  # where nothing has to be scrolled for either
        assert chrome.run(
            "return [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).length"
        ) == 0  # fmt: skip


def test_the_checks_notice_a_bad_page(tmp_path, chrome):
    bad = (
        "<div style='width: 2000px'>wide</div><p style='width: 9px; white-space: nowrap'>out of its box</p>"
        "<p style='color: #ccc'>pale</p><script>console.error('wrong'); missing();</script>"
    )
    (tmp_path / "bad.html").write_text(f"<!DOCTYPE html><body style='background: #fff'>{bad}", encoding="utf-8")
    chrome.open(tmp_path / "bad.html")
    assert {"wrong", "missing"} <= {word for line in chrome.console() for word in ("wrong", "missing") if word in line}
    assert len(chrome.overflowing()) == 2
    assert chrome.illegible() == ["pale"]


def _column(chrome, column):
    script = "return [...document.querySelectorAll('#awkward tbody')[0].rows].map((row) => row.cells[arguments[0]])"
    return chrome.run(f"{script}.map((cell) => cell.dataset.value ?? cell.textContent)", column)


def test_tables_sort_by_number_and_text_with_empty_cells_last(folder, chrome):
    chrome.open(folder / "report.html")
    heads = chrome.chrome.find_elements("css selector", "#awkward .of-table:first-of-type th button")
    heads[1].click()
    assert _column(chrome, 1) == ["-1e-07", "2.0", "Infinity", ""]
    assert _column(chrome, 2) == ["100.0", "1.0", "9.0", "10.0"]  # whole rows move
    heads[1].click()
    assert _column(chrome, 1) == ["Infinity", "2.0", "-1e-07", ""]
    states = (
        "return [...document.querySelectorAll('#awkward th')].slice(0, 5).map((th) => th.getAttribute('aria-sort'))"
    )
    assert chrome.run(states) == [None, "descending", None, None, None]
    heads[0].click()
    assert [text[:3] for text in _column(chrome, 0)] == ["<b>", "a9", "a10", "b"]
    assert chrome.console() == []


def test_page_prints_dark_on_white_in_both_colour_schemes(folder, chrome):
    chrome.open(folder / "report.html", scheme="dark", media="print", width=720)
    assert chrome.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chrome.illegible() == []
    pages = len(re.findall(rb"/Type\s*/Page\b", chrome.pdf()))
    assert 3 <= pages <= 14


def test_tables_for_a_paper_are_complete_and_escaped(folder, sections):
    text = (folder / "report.tex").read_text(encoding="utf-8")
    tables = re.findall(r"\\begin\{longtable\}.*?\\end\{longtable\}", text, re.DOTALL)
    assert len(tables) == text.count(r"\begin{longtable}") == 1 + sum(len(one.tables) for one in sections)
    for table in tables:
        lines = [
            line for line in table.splitlines() if line.endswith(r"\\") and not line.startswith((r"\label", r"\multi"))
        ]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1, table
        assert all(rule in table for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    outside = re.sub(r"^%.*$", "", text, flags=re.MULTILINE)
    assert "remark" not in outside and LONG.replace("_", r"\_") not in outside
    assert r'<b>50 \% \& "more"</b> of C:\textbackslash dir\_1, \#2 \{x\textasciicircum y\}' in outside


@pytest.mark.skipif(shutil.which("lualatex") is None, reason="needs lualatex, with booktabs and longtable")
def test_tables_for_a_paper_compile(folder, tmp_path):
    document = (r"\documentclass{article}\usepackage{booktabs,longtable}\begin{document}\input{%s}\end{document}") % (
        folder / "report.tex"
    )
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    command_line = ["lualatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command_line, cwd=tmp_path, capture_output=True, timeout=120)
    assert not done.returncode, done.stdout.decode("utf-8", "replace")
