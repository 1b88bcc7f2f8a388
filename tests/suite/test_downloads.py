"""`python -m datasets get` against a local server: complete, interrupted, corrupted and missing downloads."""

import dataclasses
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import pytest

from datasets import registry
from datasets.__main__ import main

pytest.importorskip("pooch")
image = pytest.importorskip("PIL.Image")


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; drops the connection once after `breaks_after` bytes; `resumes`: whether it supports ranges."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.breaks_after, self.resumes = {}, [], None, True

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        requested = self.headers.get("Range")
        self.server.requests.append((self.path, requested))
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested and self.server.resumes else 0
        self.send_response(416 if start >= len(body) else 206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        stop, self.server.breaks_after = self.server.breaks_after, None
        self.wfile.write(body[start : None if stop is None else start + stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Start a server and use an empty data folder."""
    monkeypatch.setenv("MSSSIM_DATA", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def set_files(server, monkeypatch):
    """Return a function that replaces the files to download for set5."""

    def replace(*files):
        entry = dataclasses.replace(registry.entries()["set5"], files=files, folders=("Set5",), count=1)
        monkeypatch.setitem(registry.entries(), "set5", entry)

    return replace


def png(side=200):
    file = io.BytesIO()
    image.effect_noise((side, side), 60).save(file, "png")
    return file.getvalue()


def sha256(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def tar(name, body):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(body)
        archive.addfile(member, io.BytesIO(body))
    return file.getvalue()


def test_file_is_downloaded_once_with_progress_bar(server, set_files, tmp_path, capsys):
    body = png()
    server.files["/bird.png"] = body
    set_files({"url": server.address + "/bird.png", "hash": sha256(body), "to": "Set5"})
    assert main(["get", "set5"]) == 0
    out = capsys.readouterr()
    assert "1 of 1 images found, 0 problems" in out.out and "100%" in out.err
    assert (tmp_path / "Set5/bird.png").read_bytes() == body
    assert main(["get", "set5"]) == 0 and len(server.requests) == 1
    assert "already complete" in capsys.readouterr().out


@pytest.mark.parametrize("resumes", [True, False])
def test_interrupted_download_is_resumed(server, set_files, tmp_path, capsys, resumes):
    body = png(800)
    server.files["/bird.png"], server.breaks_after, server.resumes = body, 300_000, resumes
    set_files({"url": server.address + "/bird.png", "hash": sha256(body), "to": "Set5"})
    assert main(["get", "set5"]) == 1
    assert "By hand, from" in capsys.readouterr().out and not (tmp_path / "Set5/bird.png").exists()
    assert main(["get", "set5"]) == 0
    (_, first), (_, second) = server.requests
    assert first is None and 200_000 < int(second.removeprefix("bytes=").removesuffix("-")) <= 300_000 < len(body)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["bird.png"]


def test_wrong_hash_is_refused(server, set_files, tmp_path, capsys):
    server.files["/bird.png"] = png()
    set_files({"url": server.address + "/bird.png", "hash": sha256(b"another"), "to": "Set5"})
    assert main(["get", "set5"]) == 1
    out = capsys.readouterr().out
    assert "hash" in out and "By hand" in out and not list(tmp_path.rglob("*.p*"))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_are_unpacked_and_removed(server, set_files, tmp_path, kind):
    body = tar("Set5/bird.png", png())
    if kind == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("Set5/bird.png", png())
        body = file.getvalue()
    server.files[f"/set5.{kind}"] = body
    set_files({"url": f"{server.address}/set5.{kind}", "unpack": True, "to": "."})
    assert main(["get", "set5"]) == 0
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["bird.png"]


def test_invalid_or_unsafe_archive_is_refused(server, set_files, tmp_path, capsys):
    for body in (b"<html>please log in</html>", tar("../outside.png", png())):
        server.files["/set5.tar"] = body
        set_files({"url": server.address + "/set5.tar", "unpack": True, "to": "inside"})
        assert main(["get", "set5"]) == 1
        assert "not a valid archive" in capsys.readouterr().out
        assert not list(tmp_path.rglob("*.png")) and not list(tmp_path.rglob("*.tar"))


def test_missing_on_server_says_how_to_download_by_hand(server, set_files, capsys):
    set_files({"url": server.address + "/bird.png", "to": "Set5"})
    assert main(["get", "set5"]) == 1
    out = capsys.readouterr().out
    assert "404" in out and "By hand, from https://github.com/sanghyun-son/EDSR-PyTorch: download benchmark.tar" in out


def test_error_for_missing_pooch_names_it(server, set_files, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    set_files({"url": server.address + "/bird.png", "to": "Set5"})
    assert main(["get", "set5"]) == 1 and "python -m pip install pooch" in capsys.readouterr().out


def test_nothing_is_downloaded_without_data_folder(monkeypatch, capsys):
    monkeypatch.delenv("MSSSIM_DATA", raising=False)
    assert (
        main(["get", "kodak"]) == 1 and main(["check", "kodak"]) == 1 and main(["list"]) == main(["where", "clic"]) == 0
    )
    assert capsys.readouterr().out.count("MSSSIM_DATA is not set") == 3


def test_every_entry_is_complete():
    for name, entry in registry.entries().items():
        assert entry.kind in ("subjective", "references") and entry.count > 0 and entry.folders and entry.files, name
        assert all((entry.title, entry.licence, entry.layout, entry.by_hand)) and entry.home.startswith("http"), name
        assert bool(entry.score) == (entry.kind == "subjective"), name
        for file in entry.files:
            algorithm, _, digest = file.get("hash", "md5:" + "0" * 32).partition(":")
            assert len(digest) == {"sha256": 64, "md5": 32}[algorithm] and set(digest) <= set("0123456789abcdef"), name
