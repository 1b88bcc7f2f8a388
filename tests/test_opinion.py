"""Databases of opinion: made-up ones in every layout, whole, in part, and with files that are broken."""

import numpy as np
import pytest

import datasets
from datasets import official, opinion, references
from datasets.__main__ import main

image = pytest.importorskip("PIL.Image")
HEAD = "dis_img_path,dis_type,ref_img_path,score\n"


@pytest.fixture
def root(monkeypatch, tmp_path):
    """An empty cache folder."""
    monkeypatch.setenv("MSSSIM_DATA", str(tmp_path))
    for cached in (opinion._decoded, references._decoded):
        cached.cache_clear()
    return tmp_path


def save(path, seed=0, shape=(24, 32, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


def live(root, count=3):
    """The list of a database with `count` images, and the files of them all."""
    save(root / "iqa/LIVE/refimgs/house.bmp")
    for number in range(1, count + 1):
        save(root / f"iqa/LIVE/jp2k/img{number}.bmp", seed=number)
    lines = (f"LIVE/jp2k/img{number}.bmp,jp2k,LIVE/refimgs/house.bmp,{number}.25\n" for number in range(1, count + 1))
    (root / "iqa/LIVE.txt").write_text(HEAD + "".join(lines))


def test_pairs_have_their_scores_and_a_part_will_do(root):
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
    assert len(opinion.listed("live")[0]) == 3


def test_gray_files_stay_gray(root):
    live(root, 1)
    for file in ("refimgs/house.bmp", "jp2k/img1.bmp"):
        save(root / "iqa/LIVE" / file, shape=(24, 32))
    assert datasets.load("live")[0].reference.shape == (24, 32)


def test_names_are_found_in_either_case_and_in_the_folder_of_the_release(root):
    live(root, 1)
    (root / "iqa/LIVE").rename(root / "iqa/databaserelease2")
    (root / "iqa/databaserelease2/jp2k/img1.bmp").rename(root / "iqa/databaserelease2/jp2k/IMG1.BMP")
    assert datasets.load("live").names == ("LIVE/jp2k/img1.bmp",)


def test_what_is_broken_gets_a_line_each_and_the_exit_code_tells(root, capsys):
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
         "img3.bmp: of shape (24, 16, 3)", "LIVE/jp2k/img05.bmp: not in the list, and 1"), lines, strict=True,
    ):  # fmt: skip
        assert expected in line
    assert last == "live: 4 of 779 images are here, 6 problems"
    pairs = datasets.load("live")
    assert len(pairs) == 4 and len(pairs.problems) == 3
    for index in (0, 1, 2):
        with pytest.raises(datasets.BrokenImage, match=f"img{index + 1}.bmp"):
            pairs[index]
    assert pairs[3].score == 4.25


def test_the_references_among_the_distorted_images_of_live_are_not_misnamed(root):
    live(root, 2)
    (root / "iqa/LIVE/jp2k/img2.bmp").unlink()
    for number in (227, 228):
        save(root / f"iqa/LIVE/jp2k/img{number}.bmp")
    (problem,) = datasets.load("live").problems
    assert problem.startswith("LIVE/jp2k/img228.bmp: not in the list")


def test_a_list_with_another_head_is_said(root):
    live(root)
    (root / "iqa/LIVE.txt").write_text("image,score\na,1\n")
    with pytest.raises(datasets.DatasetMissing, match=r"LIVE.txt: the head dis_img_path.* is wanted, image,score came"):
        datasets.load("live")


def test_what_is_missing_says_where_from_and_where_to(root):
    for name in ("live", "csiq", "kadid-10k", "urban100", "clic"):
        with pytest.raises(datasets.DatasetMissing, match=f"python -m datasets get {name}.*by hand, from http"):
            datasets.load(name)


def test_matlab_scores(root, capsys):
    live(root)
    assert opinion.matlab("live") is None
    assert main(["where", "live"]) == 0 and "LIVE_matlab_scores.csv (not here)" in capsys.readouterr().out
    table = "dis_img_path,msssim_matlab,ssim_matlab\nLIVE/jp2k/img1.bmp,0.990318,0.98\n"
    (root / "iqa/LIVE_matlab_scores.csv").write_text(table)
    assert opinion.matlab("live") == ({"LIVE/jp2k/img1.bmp": (0.990318, 0.98)}, 6)
    assert main(["where", "live"]) == 0 and "LIVE_matlab_scores.csv (here)" in capsys.readouterr().out


def test_official_list_of_tid(root):
    folder = root / "iqa/tid2013"
    save(folder / "reference_images/I01.BMP")
    save(folder / "distorted_images/i01_08_2.bmp", seed=1)
    (folder / "mos_with_names.txt").write_text("5.51429 i01_08_2.bmp\n5.5 i01_24_1.bmp\n4.0 i01.bmp\n")
    rows, problems = opinion.listed("tid2013")
    path = "TID2013/distorted_images/i01_08_2.bmp"
    assert rows[0] == (path, "GBLUR", "TID2013/reference_images/i01.bmp", 5.51429)
    assert len(rows) == 2 and problems == ["mos_with_names.txt, entry 3: cannot be read"]
    assert datasets.load("tid2013").names == (path,)


def test_official_list_of_kadid(root):
    save(root / "iqa/kadid10k/images/I01.png")
    save(root / "iqa/kadid10k/images/I01_09_01.png", seed=1)
    (root / "iqa/kadid10k/dmos.csv").write_text("dist_img,ref_img,dmos,var\nI01_09_01.png,I01.png,4.57,0.5\n")
    (pair,) = datasets.load("kadid-10k")
    assert (pair.name, pair.distortion, pair.score) == ("KADID-10k/images/I01_09_01.png", "JP2K", 4.57)


def test_official_list_of_live(root):
    scipy_io = pytest.importorskip("scipy.io")
    folder = root / "iqa/databaserelease2"
    save(folder / "refimgs/house.bmp")
    save(folder / "jpeg/img2.bmp", seed=1)
    total = sum(official.LIVE.values())
    unmodified = np.ones((1, total), dtype=np.uint8)
    unmodified[0, [4, 227 + 1]] = 0
    names = np.array([f"{'house' if i == 228 else 'tree'}.bmp" for i in range(total)], dtype=object)[None]
    scores = {"dmos_new": np.arange(total, dtype=float)[None], "orgs": unmodified}
    scipy_io.savemat(folder / "dmos_realigned.mat", scores)
    scipy_io.savemat(folder / "refnames_all.mat", {"refnames_all": names})
    assert opinion.listed("live") == (
        [
            ("LIVE/jp2k/img5.bmp", "jp2k", "LIVE/refimgs/tree.bmp", 4.0),
            ("LIVE/jpeg/img2.bmp", "jpeg", "LIVE/refimgs/house.bmp", 228.0),
        ],
        [],
    )
    assert datasets.load("live").names == ("LIVE/jpeg/img2.bmp",)


def test_official_list_of_csiq(root):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.create_sheet("all_by_image")
    sheet.append([])
    sheet.append([None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"])
    sheet.append([None, 1600, 1, "noise", 1, 0.1, 0.062])
    sheet.append([None, "woman", 6, "jpeg 2000", 4, 0.1, 0.9])
    (root / "iqa/CSIQ").mkdir(parents=True)
    book.save(root / "iqa/CSIQ/csiq.DMOS.xlsx")
    assert opinion.listed("csiq")[0] == [
        ("CSIQ/dst_imgs/AWGN/1600.AWGN.1.png", "AWGN", "CSIQ/src_imgs/1600.png", 0.062),
        ("CSIQ/dst_imgs/jpeg2000/woman.jpeg2000.4.png", "JP2K", "CSIQ/src_imgs/woman.png", 0.9),
    ]
