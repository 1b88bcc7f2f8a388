"""The pages of the site that are made from committed rows, and the numbers of other tools."""

import doctest
import pathlib
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import msssim
from reference import formulas, tools
from validation import from_rows
from validation.peers import from_rows as peers
from validation.peers import numbers
from validation.report import plots

ROOT = pathlib.Path(__file__).parents[2]
REPORTS = ROOT / "validation/reports"


@pytest.fixture(scope="module")
def functions():
    """The functions that docs/whose-number.md defines."""
    path = ROOT / "docs/whose-number.md"
    test = doctest.DocTestParser().get_doctest(path.read_text(encoding="utf-8"), {}, path.name, str(path), 0)
    doctest.DocTestRunner().run(test, clear_globs=False)
    return test.globs


@pytest.mark.parametrize("shape", [(96, 120), (97, 123), (384, 388), (401, 385), (640, 646), (645, 641)])
def test_functions_in_the_document_give_the_numbers_of_the_formulas(functions, shape):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, shape)
    y = (x * 0.7 + generator.integers(0, 60, shape)).astype(int)
    images = [torch.from_numpy(image.astype(np.float64))[None, None] for image in (x, y)]
    assert functions["ffmpeg_ssim"](*images).item() == pytest.approx(formulas.ffmpeg(x, y), abs=1e-12)
    assert functions["vmaf_ssim"](*images).item() == pytest.approx(formulas.vmaf(x, y), abs=1e-12)


def test_formulas_are_the_index_of_wang_where_they_have_its_convention():
    x = np.random.default_rng(0).integers(0, 256, (200, 210)).astype(np.float64)
    y = 255 - x
    wang = tools.FORMULAS["tensorflow"]
    assert formulas.vmaf(x, y) == wang(x, y, 255.0)  # below 384 pixels nothing is downsampled
    assert formulas.basicsr(x, y, 3) == wang(x[3:-3, 3:-3], y[3:-3, 3:-3], 255.0)
    assert formulas.ffmpeg(x, x) == formulas.multissim(x, x) == 1


def test_the_committed_numbers_are_near_the_calls_of_the_document():
    rows = pd.read_csv(numbers.ROWS if numbers.ROWS.exists() else ROOT / numbers.ROWS)
    assert set(rows.tool[rows.metric == "ssim"]) >= set(msssim.presets) and set(rows.pair) == set(numbers.PAIRS)
    ssim = rows[(rows.metric == "ssim") & rows.call.notna()]
    assert (ssim.value - ssim.call).abs().max() < 5e-5  # TensorFlow computes in float32


def test_the_table_of_the_document_is_that_of_the_rows(tmp_path):
    document = tmp_path / "whose-number.md"
    shutil.copy(ROOT / numbers.DOCUMENT, document)
    numbers.main(["--from-rows", "--rows", str(ROOT / numbers.ROWS), "--document", str(document)])
    assert document.read_text(encoding="utf-8") == (ROOT / numbers.DOCUMENT).read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", from_rows.folders(REPORTS), ids=lambda folder: folder.name)
def test_committed_rows_are_enough_for_a_report(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("report.*", "plots"))
    assert from_rows.render(copy) == copy / "report.html"
    text = (copy / "report.md").read_text(encoding="utf-8")
    assert "nan" not in re.findall(r"\w+", text) and text.count("\n| --- ") >= 2
    for picture in re.findall(r"\]\((plots/.*?)\)", text):
        assert (copy / picture).exists()


def test_the_labels_of_a_heat_map_have_the_colour_of_the_theme():
    picture = peers.sections(REPORTS / "peers")[0].figures[0].image
    styles = re.findall(r'<text style="([^"]*)"[^>]*>([^<]*)<', picture)
    labels = [style for style, text in styles if text.startswith(("largest", "msssim, numba"))]
    assert len(labels) == 3 and all(plots.INK in style for style in labels)


def test_every_committed_folder_has_a_report():
    committed = {path.parent for path in REPORTS.glob("*/*.csv")}
    assert set(from_rows.folders(REPORTS)) == committed
