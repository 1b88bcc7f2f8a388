"""Short trainings: what is counted, the rows, the report, and the tables of the documents."""

import math
import pathlib
import shutil

import pandas as pd
import pytest
import torch

from reference.peers import PEERS
from validation import __main__ as command
from validation.training import losses, measure, networks, question, readme, tables

pytest.importorskip("skimage", reason="the trainings use photographs of scikit-image")

ROOT = pathlib.Path(__file__).parents[2]
ROWS = ROOT / "validation/reports/training"
pytestmark = pytest.mark.usefixtures("one_thread")


def setup(loss, **changes):
    candidate = losses.Candidate("made", lambda scales: loss)
    given = measure.Setup(candidate, 64, "float32", "denoiser", seed=0, steps=3, device="cpu")
    return given._replace(**changes)


def squared(output, target):
    return (output - target).square().mean()


def exploding_once():
    steps = iter((1, 1e4, 1))
    return lambda output, target: next(steps) * squared(output, target)


def nan_at_the_second():
    steps = iter((1, math.nan))
    return lambda output, target: next(steps) * squared(output, target)


@pytest.mark.parametrize(
    "loss, nan_step, zero_steps, dead_images, exploding_steps",
    [
        (squared, math.nan, 0, 0, 0),
        (nan_at_the_second(), 1, 0, 0, 0),
        (lambda output, target: 0 * output.sum(), math.nan, 3, 3 * networks.BATCH, 0),
        (lambda output, target: squared(output[0], target[0]), math.nan, 0, 3, 0),
        (exploding_once(), math.nan, 0, 0, 1),
    ],
)
def test_what_is_counted(loss, nan_step, zero_steps, dead_images, exploding_steps):
    found = measure.train(setup(loss))
    assert (found.zero_steps, found.dead_images, found.exploding_steps) == (zero_steps, dead_images, exploding_steps)
    assert found.nan_step == pytest.approx(nan_step, nan_ok=True)
    assert math.isnan(found.end) == (not math.isnan(nan_step))


def test_a_gradient_that_is_not_finite_counts_although_the_loss_is_finite():
    found = measure.train(setup(lambda output, target: (output - output.detach()).abs().sqrt().mean()))
    assert found.nan_step == 0


@pytest.mark.parametrize("network", networks.NETWORKS)
@pytest.mark.parametrize("precision", measure.PRECISIONS)
def test_a_training_is_the_same_again_and_another_with_another_seed(network, precision):
    given = setup(squared, network=network, precision=precision)
    first = measure.train(given)
    assert str(measure.train(given)) == str(first)  # NaN is not equal to itself
    assert measure.train(given._replace(seed=1)).start != first.start


def test_autocast_gives_the_loss_images_in_bfloat16():
    seen = set()

    def loss(output, target):
        seen.update((output.dtype, target.dtype))
        return squared(output, target)

    measure.train(setup(loss, precision=measure.AUTOCAST))
    assert seen == {torch.bfloat16}


def test_every_loss_is_near_zero_for_equal_images():
    x = networks.batch("autoencoder", 176, seed=0)[1]
    for candidate in losses.candidates("torch"):
        if losses.unavailable(candidate) is None:
            for crop in candidate.crops:
                image = x[..., :crop, :crop]
                assert abs(candidate.make(losses.CROPS[crop])(image, image.clone()).item()) < 1e-5, candidate.name


@pytest.fixture
def run(tmp_path, monkeypatch):
    """(exit code, folder) of a tiny run, without the slow peers."""
    few = [*losses.candidates("torch")[:4], losses.Candidate("absent", lambda scales: squared, (64,), "fussim")]
    monkeypatch.setattr(question.losses, "candidates", lambda backend: few)
    monkeypatch.setattr(type(PEERS["fussim"]), "unavailable_reason", lambda self: f"{self.name} is not installed")
    out = tmp_path / "report"
    return command.main(["--training", "3", "--limit", "1", "--backend", "torch", "--out", str(out)]), out


def test_report_and_rows(run):
    code, out = run
    assert code == 0
    rows = question.load(out)
    assert len(rows) == 4 * 2 * 2 * 3 and set(rows.steps) == {1} and set(rows.seed) == {0}
    text = (out / "report.md").read_text(encoding="utf-8")
    assert tables.TITLE in text and "Skipped: fussim is not installed" in text
    assert "0 of 36 trainings in the modes for training have a NaN" in text


def test_a_nan_in_a_mode_for_training_breaks_the_budget():
    rows = pd.read_csv(ROWS / "training-0.csv")
    assert tables.section_of_rows(rows).verdict == "pass"
    rows.loc[rows.index[rows.loss == losses.own_name("simple")][0], "nan_step"] = 3
    assert tables.section_of_rows(rows).verdict == "broken"


def test_committed_rows_are_complete_and_show_why_there_are_modes():
    rows = question.load(ROWS)
    assert len(rows) >= 500 and set(rows.steps) == {measure.STEPS}
    names = {candidate.name for candidate in losses.candidates("torch")}
    assert set(rows.loss) == names and rows.groupby(["loss", "crop", "precision", "network"]).size().nunique() == 1
    counts = tables.counted(rows, ["loss"]).set_index("loss")
    assert counts.NaN[losses.own_name(None)] > 0
    for mode in ("simple", "covariance"):
        assert not counts.loc[losses.own_name(mode), ["NaN", "all gradients 0", "an image's gradient 0"]].any()


def test_tables_of_the_documents_are_those_of_the_rows(tmp_path):
    copies = [shutil.copy(ROOT / path, tmp_path) for path in readme.DOCUMENTS]
    assert readme.main([str(ROWS), *map(str, copies)]) == 0
    for path, copy in zip(readme.DOCUMENTS, copies, strict=True):
        assert pathlib.Path(copy).read_text(encoding="utf-8") == (ROOT / path).read_text(encoding="utf-8")
