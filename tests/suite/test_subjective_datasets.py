"""Databases with subjective scores: artificial ones in every layout, complete, incomplete and with broken files."""

import numpy as np
import pytest

import datasets
from datasets import references, score_lists, subjective
from datasets.__main__ import main

image = pytest.importorskip("PIL.Image")
HEAD = "dis_img_path,dis_type,ref_img_path,score\n"


@pytest.fixture
def root(monkeypatch, tmp_path):
    """Use an empty data folder."""
    monkeypatch.setenv("MSSSIM_DATA", str(tmp_path))
    for cached in (subjective._read_cached, references._read_cached):
        cached.cache_clear()
    return tmp_path


def save(path, seed=0, shape=(24, 32, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


def live(root, count=3):
    """Write the list of a database with `count` images, and their files."""
    save(root / "iqa/LIVE/refimgs/house.bmp")
    for number in range(1, count + 1):
        save(root / f"iqa/LIVE/jp2k/img{number}.bmp", seed=number)
    lines = (f"LIVE/jp2k/img{number}.bmp,jp2k,LIVE/refimgs/house.bmp,{number}.25\n" for number in range(1, count + 1))
    (root / "iqa/LIVE.txt").write_text(HEAD + "".join(lines))


def test_incomplete_database_gives_pairs_with_scores(root):
    live(root)
    (root / "iqa/LIVE/jp2k/img2.bmp").unlink()
    pairs = datasets.load("live")
    assert pairs.names == ("LIVE/jp2k/img1.bmp", "LIVE/jp2k/img3.bmp")
    assert pairs.note == "2 of 779 distorted images" and pairs.problems == ()
    assert [(pair.score, pair.distortion, pair.data_range) for pair in pairs] == [
        (1.25, "jp2k", 255),
        (3.25, "jp2k", 255),
    ]
    assert pairs[0].reference.shape == pairs[0].distorted.shape == (24, 32, 3)
    assert len(subjective.score_list("live")[0]) == 3


def test_gray_files_stay_gray(root):
    live(root, 1)
    for file in ("refimgs/house.bmp", "jp2k/img1.bmp"):
        save(root / "iqa/LIVE" / file, shape=(24, 32))
    assert datasets.load("live")[0].reference.shape == (24, 32)


def test_files_are_found_ignoring_case_and_in_the_released_folder(root):
    live(root, 1)
    (root / "iqa/LIVE").rename(root / "iqa/databaserelease2")
    (root / "iqa/databaserelease2/jp2k/img1.bmp").rename(root / "iqa/databaserelease2/jp2k/IMG1.BMP")
    assert datasets.load("live").names == ("LIVE/jp2k/img1.bmp",)


def test_check_prints_a_line_per_broken_file_and_exits_with_1(root, capsys):
    live(root, 5)
    folder = root / "iqa/LIVE/jp2k"
    assert main(["check", "LIVE"]) == 0
    (folder / "img1.bmp").write_bytes((folder / "img1.bmp").read_bytes()[:500])
    (folder / "img2.bmp").write_text("not an image")
    save(folder / "img3.bmp", shape=(24, 16, 3))
    (folder / "img5.bmp").rename(folder / "img05.bmp")
    with open(root / "iqa/LIVE.txt", "a") as file:
        file.write(
            "LIVE/jp2k/img6.bmp,jp2k,LIVE/refimgs/house.bmp\nLIVE/jp2k/img7.bmp,jp2k,LIVE/refimgs/house.bmp,nan\n"
        )
    capsys.readouterr()
    assert main(["check", "live"]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    for expected, line in zip(
        ("LIVE.txt, line 7: cannot", "LIVE.txt, line 8: cannot", "img1.bmp: cannot be read", "img2.bmp: cannot be read",
         "img3.bmp: has shape (24, 16, 3)", "LIVE/jp2k/img05.bmp: misnamed? It is not in the list, and"),
        lines, strict=True,
    ):  # fmt: skip
        assert expected in line
    assert last == "live: 4 of 779 images found, 6 problems"
    pairs = datasets.load("live")
    assert len(pairs) == 4 and len(pairs.problems) == 3
    for index in (0, 1, 2):
        with pytest.raises(datasets.BrokenImage, match=f"img{index + 1}.bmp"):
            pairs[index]
    assert pairs[3].score == 4.25


def test_reference_copies_in_live_are_not_reported_as_misnamed(root):
    live(root, 2)
    (root / "iqa/LIVE/jp2k/img2.bmp").unlink()
    for number in (227, 228):
        save(root / f"iqa/LIVE/jp2k/img{number}.bmp")
    (problem,) = datasets.load("live").problems
    assert problem.startswith("LIVE/jp2k/img228.bmp: misnamed?")


def test_wrong_header_is_reported(root):
    live(root)
    (root / "iqa/LIVE.txt").write_text("image,score\na,1\n")
    with pytest.raises(datasets.DatasetMissing, match=r"LIVE.txt: the header must be dis_img_path.*, got image,score"):
        datasets.load("live")


def test_missing_database_error_says_how_to_get_it(root):
    for name in ("live", "csiq", "kadid-10k", "urban100", "clic"):
        with pytest.raises(datasets.DatasetMissing, match=f"python -m datasets get {name}.*by hand from http"):
            datasets.load(name)


def test_matlab_scores(root, capsys):
    live(root)
    assert subjective.matlab_scores("live") is None
    assert main(["where", "live"]) == 0 and "LIVE_matlab_scores.csv (not found)" in capsys.readouterr().out
    table = "dis_img_path,msssim_matlab,ssim_matlab\nLIVE/jp2k/img1.bmp,0.990318,0.98\n"
    (root / "iqa/LIVE_matlab_scores.csv").write_text(table)
    assert subjective.matlab_scores("live") == ({"LIVE/jp2k/img1.bmp": (0.990318, 0.98)}, 6)
    assert main(["where", "live"]) == 0 and "LIVE_matlab_scores.csv (found)" in capsys.readouterr().out


def test_published_list_of_tid(root):
    folder = root / "iqa/tid2013"
    save(folder / "reference_images/I01.BMP")
    save(folder / "distorted_images/i01_08_2.bmp", seed=1)
    (folder / "mos_with_names.txt").write_text("5.51429 i01_08_2.bmp\n5.5 i01_24_1.bmp\n4.0 i01.bmp\n")
    rows, problems = subjective.score_list("tid2013")
    path = "TID2013/distorted_images/i01_08_2.bmp"
    assert rows[0] == (path, "GBLUR", "TID2013/reference_images/i01.bmp", 5.51429)
    assert len(rows) == 2 and problems == ["mos_with_names.txt, entry 3: cannot be read"]
    assert datasets.load("tid2013").names == (path,)


def test_published_list_of_kadid(root):
    save(root / "iqa/kadid10k/images/I01.png")
    save(root / "iqa/kadid10k/images/I01_09_01.png", seed=1)
    (root / "iqa/kadid10k/dmos.csv").write_text("dist_img,ref_img,dmos,var\nI01_09_01.png,I01.png,4.57,0.5\n")
    (pair,) = datasets.load("kadid-10k")
    assert (pair.name, pair.distortion, pair.score) == ("KADID-10k/images/I01_09_01.png", "JP2K", 4.57)


def test_published_list_of_live(root):
    scipy_io = pytest.importorskip("scipy.io")
    folder = root / "iqa/databaserelease2"
    save(folder / "refimgs/house.bmp")
    save(folder / "jpeg/img2.bmp", seed=1)
    total = sum(score_lists.LIVE.values())
    unmodified = np.ones((1, total), dtype=np.uint8)
    unmodified[0, [4, 227 + 1]] = 0
    names = np.array([f"{'house' if i == 228 else 'tree'}.bmp" for i in range(total)], dtype=object)[None]
    scores = {"dmos_new": np.arange(total, dtype=float)[None], "orgs": unmodified}
    scipy_io.savemat(folder / "dmos_realigned.mat", scores)
    scipy_io.savemat(folder / "refnames_all.mat", {"refnames_all": names})
    assert subjective.score_list("live") == (
        [
            ("LIVE/jp2k/img5.bmp", "jp2k", "LIVE/refimgs/tree.bmp", 4.0),
            ("LIVE/jpeg/img2.bmp", "jpeg", "LIVE/refimgs/house.bmp", 228.0),
        ],
        [],
    )
    assert datasets.load("live").names == ("LIVE/jpeg/img2.bmp",)


def test_published_list_of_csiq(root):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.create_sheet("all_by_image")
    sheet.append([])
    sheet.append([None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"])
    sheet.append([None, 1600, 1, "noise", 1, 0.1, 0.062])
    sheet.append([None, "woman", 6, "jpeg 2000", 4, 0.1, 0.9])
    (root / "iqa/CSIQ").mkdir(parents=True)
    book.save(root / "iqa/CSIQ/csiq.DMOS.xlsx")
    assert subjective.score_list("csiq")[0] == [
        ("CSIQ/dst_imgs/AWGN/1600.AWGN.1.png", "AWGN", "CSIQ/src_imgs/1600.png", 0.062),
        ("CSIQ/dst_imgs/jpeg2000/woman.jpeg2000.4.png", "JP2K", "CSIQ/src_imgs/woman.png", 0.9),
    ]
