"""Download datasets with pooch: with a progress bar, resuming interrupted downloads, verified where a hash exists."""

import functools
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import registry
from .pair import optional

TIMEOUT = 30  # seconds without data before a download is given up


class RemoteFile(NamedTuple):
    """A file to download."""

    url: str
    hash: str | None
    """The published hash as pooch reads it, for example "sha256:..."; None if no hash is published."""
    folder: str
    """Where to put the file or its contents, relative to the data folder."""
    unpack: bool
    """Whether the file is an archive to unpack."""


def get(name: str) -> None:
    """Download a dataset into the data folder.

    Raises
    ------
    OSError, ValueError
        If a download fails or does not have the published hash.
    """
    for remote in files(name):
        target = registry.data_folder(name) / remote.folder
        file = _retrieve(remote, registry.data_folder(name) / "downloads" if remote.unpack else target)
        if remote.unpack:
            try:
                _unpack(file, target)
            except (tarfile.TarError, zipfile.BadZipFile) as error:
                file.unlink()  # the next run downloads it again
                raise ValueError(f"{remote.url}: the download is not a valid archive: {error}") from error
            file.unlink()


def files(name: str) -> Iterator[RemoteFile]:
    """Yield each file to download for a dataset."""
    for file in registry.entries()[name].files:
        for number in range(1, file.get("numbers", 1) + 1):
            yield RemoteFile(file["url"].format(number=number), file.get("hash"), file["to"], file.get("unpack", False))


def _retrieve(remote: RemoteFile, folder: Path) -> Path:
    pooch = optional("pooch", "pooch")
    pooch.get_logger().setLevel("WARNING")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / remote.url.rpartition("/")[2]
    partial = file.with_name(file.name + ".part")
    downloader = functools.partial(_download_resuming, partial)
    pooch.retrieve(remote.url, remote.hash, fname=file.name, path=folder, downloader=downloader)
    return file


def _download_resuming(partial: Path, url: str, output_file: str, _pooch: Any) -> None:
    """Download a file as pooch's downloader. Received data is kept in `partial`, so that the next call can resume."""
    requests, tqdm = optional("requests", "requests"), optional("tqdm", "tqdm").tqdm
    received = partial.stat().st_size if partial.exists() else 0
    # No compression in transit: `received` has to be an offset into the file itself.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={received}-"} if received else {})}
    with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response:
        # The partial file is already complete, or the remote file has changed: checking the hash or archive shows it.
        if response.status_code == 416:
            shutil.move(partial, output_file)
            return
        response.raise_for_status()
        if response.status_code != 206:  # the server does not support ranges and sends the whole file
            received = 0
        length = response.headers.get("Content-Length")
        total = received + int(length) if length else None
        bar = tqdm(desc=partial.stem, initial=received, total=total, unit="B", unit_scale=True)
        with bar, open(partial, "ab" if received else "wb") as file:
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and partial.stat().st_size != total:
        size = partial.stat().st_size
        raise ConnectionError(f"{url}: received {size} of {total} bytes; run the command again to resume")
    shutil.move(partial, output_file)


def _unpack(file: Path, folder: Path) -> None:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(file) as tar:
            tar.extractall(folder, filter="data")  # refuses paths outside the folder, and devices
