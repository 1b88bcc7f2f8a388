"""Downloads: by pooch, with a progress bar, going on where one was broken off, checked where a hash is published."""

import functools
import shutil
import tarfile
import zipfile

from . import registry
from .pair import optional

TIMEOUT = 30  # seconds without a byte


def get(name):
    """Download a dataset into the cache folder.

    Raises
    ------
    OSError, ValueError
        When a download fails, or is not the file whose hash is published.
    """
    for url, wanted, folder, unpack in files(name):
        target = registry.root(name) / folder
        kept = registry.root(name) / "downloads" if unpack else target
        file = _retrieve(url, wanted, kept)
        if unpack:
            try:
                _unpack(file, target)
            except (tarfile.TarError, zipfile.BadZipFile) as error:
                file.unlink()  # so that the next run fetches it anew
                raise ValueError(f"{url}: what came is no whole archive: {error}") from error
            file.unlink()


def files(name):
    """Yield (address, published hash or None, folder to put it into, whether to unpack it) for each file."""
    for file in registry.entries()[name].files:
        for number in range(1, file.get("numbers", 1) + 1):
            yield file["url"].format(number=number), file.get("hash"), file["to"], file.get("unpack", False)


def _retrieve(url, wanted, folder):
    pooch = optional("pooch", "pooch")
    pooch.get_logger().setLevel("WARNING")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / url.rpartition("/")[2]
    part = file.with_name(file.name + ".part")
    pooch.retrieve(url, wanted, fname=file.name, path=folder, downloader=functools.partial(_resuming, part))
    return file


def _resuming(part, url, output_file, _):
    """What pooch calls to download; what has come is kept in a file of its own, to go on from after a break."""
    requests, tqdm = optional("requests", "requests"), optional("tqdm", "tqdm").tqdm
    have = part.stat().st_size if part.exists() else 0
    # Sizes are of what is on the disk, so nothing may be compressed on the way.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response:
        if response.status_code == 416:  # all of it was there, or the file has changed: the hash or the archive tells
            shutil.move(part, output_file)
            return
        response.raise_for_status()
        if response.status_code != 206:  # from the start: this server does not resume
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        bar = tqdm(desc=part.stem, initial=have, total=total, unit="B", unit_scale=True)
        with bar, open(part, "ab" if have else "wb") as file:
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"{url}: {part.stat().st_size} of {total} bytes came; run it again to go on from there")
    shutil.move(part, output_file)


def _unpack(file, folder):
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")  # nothing outside the folder, and no devices
