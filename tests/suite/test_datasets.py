"""The image pairs have the expected bits, are made on access, and missing ones give a clear error."""

import collections
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import datasets
from datasets import embedded, recipes, references
from datasets.__main__ import main


def test_names():
    assert datasets.names()[:6] == ("golden", "golden-gradients", "colour", "synthetic", "graphics", "live")
    with pytest.raises(ValueError, match=r"one of golden, golden-gradients, colour, .*, clic, got 'tid'"):
        datasets.load("tid")


@pytest.mark.parametrize("name", ["golden", "golden-gradients", "colour", "synthetic", "graphics"])
def test_every_pair_is_consistent(name):
    pairs = datasets.load(name)
    count = 0
    for pair_name, pair in zip(pairs.names, pairs, strict=True):
        count += 1
        x, y = pair.reference, pair.distorted
        assert pair.name == pair_name
        assert x.shape == y.shape and x.dtype == y.dtype, pair_name
        assert x.ndim == 2 or x.shape[2:] == (3,), pair_name
        assert min(x.shape[:2]) >= 176, pair_name
        low = -pair.data_range / 2 if pair_name.startswith("signed-") else 0
        assert min(x.min(), y.min()) >= low and max(x.max(), y.max()) <= low + pair.data_range, pair_name
        assert x.flags.writeable and y.flags.writeable and not np.shares_memory(x, y), pair_name
    assert count == len(pairs) == len(set(pairs.names))


def test_colour_pairs_are_colour_and_distorted():
    pairs = datasets.load("colour")[::8]
    assert len(pairs) == len(embedded.COLOUR_IMAGES)
    for pair in pairs:
        assert pair.reference.shape[2] == 3 and (pair.reference != pair.distorted).any()
        assert (pair.reference[..., 0] != pair.reference[..., 2]).any()


def test_golden_pair_with_wrong_bits_is_refused(monkeypatch):
    """Each golden pair verifies its own SHA-256; the test above makes all of them."""
    pairs = datasets.load("golden")
    assert len(pairs) == 70
    monkeypatch.setitem(recipes.RECIPES, "brighter", lambda x: x + 19)
    with pytest.raises(ValueError, match="the distorted image of camera-512x512-brighter is not the one"):
        pairs[pairs.names.index("camera-512x512-brighter")]


def test_modifying_a_pair_does_not_affect_later_ones():
    first, second = datasets.load("colour")[:2]
    untouched = second.reference.copy()
    first.reference[:] = 0
    np.testing.assert_array_equal(datasets.load("colour")[1].reference, untouched)


def test_pairs_are_made_on_access():
    made = []

    def maker(name):
        return lambda: made.append(name) or name

    pairs = datasets.Pairs({name: maker(name) for name in "abcdef"}, "six letters")
    half = pairs[::2]
    assert (len(pairs), len(half), half.names, half.note, made) == (6, 3, ("a", "c", "e"), "six letters", [])
    assert next(iter(half)) == "a" and made == ["a"]
    assert pairs[-1] == "f" and made == ["a", "f"]
    with pytest.raises(IndexError):
        pairs[6]


def test_loading_imports_no_optional_package():
    code = (
        "import sys, datasets; datasets.load('golden'), datasets.load('colour'), datasets.load('synthetic');"
        "print(*{'msssim', 'torch', 'reference', 'skimage', 'scipy', 'PIL'} & set(sys.modules))"
    )
    root = Path(datasets.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == []


def test_error_for_a_missing_package_names_it(monkeypatch):
    embedded._image.cache_clear()
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(ImportError, match="python -m pip install scikit-image"):
        datasets.load("golden")[0]


def test_command_on_generated_datasets(monkeypatch, capsys):
    for command in ("where", "get", "check"):
        assert main([command, "golden-gradients"]) == 0
        out = capsys.readouterr().out
        assert "4 pairs, generated, no download needed\n" in out
        assert embedded.__doc__.partition("\n")[0] in out
    assert "4 of 4 pairs generated, 0 problems" in out
    monkeypatch.setattr(embedded, "_image", lambda name: np.zeros((512, 512), np.uint8))
    assert main(["check", "golden-gradients"]) == 1
    out = capsys.readouterr().out
    assert out.count("is not the one that Wang's code was run on") == 4 and "0 of 4 pairs generated, 4 problems" in out
    monkeypatch.undo()
    embedded._image.cache_clear()
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    assert main(["check", "golden-gradients"]) == 1 and "pip install scikit-image" in capsys.readouterr().out


@pytest.mark.parametrize("root", [None, "empty"])
def test_missing_kodak_error_says_how_to_get_it(monkeypatch, tmp_path, root):
    monkeypatch.delenv("MSSSIM_DATA", raising=False)
    if root:
        monkeypatch.setenv("MSSSIM_DATA", str(tmp_path))
    with pytest.raises(datasets.DatasetMissing) as caught:
        datasets.load("kodak")
    assert isinstance(caught.value, FileNotFoundError)
    assert (str(tmp_path / "kodak") if root else "MSSSIM_DATA is not set") in str(caught.value)
    assert "https://r0k.us/graphics/kodak/" in str(caught.value) and "folder named kodak" in str(caught.value)


def test_incomplete_kodak_works(monkeypatch, tmp_path):
    """With one artificial image, every distortion is applied at every level."""
    _one_kodak_image(monkeypatch, tmp_path)
    pairs = datasets.load("kodak")
    assert pairs.note == "1 of 24 images" and len(pairs) == 3 * len(references.LEVELS)
    errors = collections.defaultdict(list)
    for pair in pairs:
        assert pair.name == f"kodim07-{pair.distortion}-{pair.level}"
        assert pair.distorted.shape == pair.reference.shape == (64, 96, 3) and pair.distorted.dtype == np.uint8
        errors[pair.distortion].append(np.square(pair.reference - pair.distorted.astype(float)).mean())
    assert set(errors) == set(references.LEVELS)
    for distortion, (weak, medium, strong) in errors.items():
        assert 0 < weak < medium < strong, distortion


def test_misnamed_files_are_reported_where_names_are_known(monkeypatch, tmp_path):
    """A dataset without a known file pattern takes every image; one with a pattern reports files that do not match."""
    _one_kodak_image(monkeypatch, tmp_path)
    (tmp_path / "kodak" / "kodim7.png").write_bytes((tmp_path / "kodak" / "kodim07.png").read_bytes())
    (tmp_path / "benchmark" / "Set5").mkdir(parents=True)
    shutil.copytree(tmp_path / "kodak", tmp_path / "benchmark" / "Set5" / "HR")
    kodak, set5 = datasets.load("kodak"), datasets.load("set5")
    assert kodak.note == "1 of 24 images" and set5.note == "2 of 5 images" and set5.problems == ()
    assert len(kodak.problems) == 1 and "kodak/kodim7.png" in kodak.problems[0] and "misnamed" in kodak.problems[0]
    assert {name.partition("-")[0] for name in set5.names} == {"kodim07", "kodim7"}


def test_kodak_noise_is_deterministic(monkeypatch, tmp_path):
    _one_kodak_image(monkeypatch, tmp_path)
    pairs = datasets.load("kodak")
    index = pairs.names.index("kodim07-noise-2")
    np.testing.assert_array_equal(pairs[index].distorted, pairs[index].distorted)


def test_real_kodak():
    if not os.environ.get("MSSSIM_DATA"):
        pytest.skip("MSSSIM_DATA is not set")
    try:
        pairs = datasets.load("kodak")
    except datasets.DatasetMissing as missing:
        pytest.skip(str(missing))
    for pair in itertools.islice(pairs, 3 * len(references.LEVELS)):
        assert sorted(pair.reference.shape) == [3, 512, 768] and pair.distorted.shape == pair.reference.shape
        assert (pair.reference != pair.distorted).any(), pair.name


def _one_kodak_image(monkeypatch, tmp_path):
    image = pytest.importorskip("PIL.Image")
    rows, columns = np.indices((64, 96))
    texture = 128 + 60 * np.sin(rows / 3) + 50 * np.cos(columns / 5) + 12 * ((rows * columns) % 3)
    plane = np.clip(texture, 0, 255).astype(np.uint8)
    (tmp_path / "kodak").mkdir()
    image.fromarray(np.stack([plane, plane // 2, 255 - plane], axis=-1)).save(tmp_path / "kodak" / "kodim07.png")
    monkeypatch.setenv("MSSSIM_DATA", str(tmp_path))
    references._read_cached.cache_clear()
