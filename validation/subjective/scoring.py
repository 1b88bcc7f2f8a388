"""Score the pairs of a database: in workers and processes, on several machines, and on from where a run was stopped.

Each pair is scored by itself, in float64 and on one thread, so that its scores have the same bits wherever that is.
The first process keeps what is scored in a file, a line for each pair, and reads it when it is started again.
"""

import contextlib
import datetime
import hashlib
import itertools
import json
import math
import os
import pathlib
import sys

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

import datasets
import msssim

from .. import harness, library

# What is scored, by the name that it has in files.
QUANTITIES = {"ssim": library.SSIM_REDUCED, "msssim": library.PRODUCT, "msssim_wtd_sum": library.WTD_SUM}
# rgb2gray of MATLAB.
GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
# How many pairs each of several processes scores between two meetings, and how long one waits for the others there.
_CHUNK, _PATIENCE = 8, datetime.timedelta(minutes=10)


class Stopped(RuntimeError):
    """A part of the run has ended before its time; the message says which, and what is kept."""


@contextlib.contextmanager
def processes(device):
    """Join the processes that torchrun started, if it did; gives (rank, how many, the device of this one)."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield 0, 1, device
        return
    cuda = torch.device(device).type == "cuda"
    if cuda and torch.device(device).index is None:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield distributed.get_rank(), count, device
    finally:
        distributed.destroy_process_group()


def score(pairs, kept, *, title, device="cpu", backend="auto", workers=0, rank=0, count=1):
    """Score every pair.

    Parameters
    ----------
    pairs : datasets.Pairs
        What to score; the same in every process.
    kept : Path
        The file with what is scored, of the first process.
    title : str
        What the progress bar says.
    device, backend : str
        Of the library.
    workers : int
        How many processes of its own each process scores in; 0 for none.
    rank, count : int
        See :func:`processes`.

    Returns
    -------
    list of dict, or None
        For each pair, in order, its "pair" (name) and either the values of `QUANTITIES` or the "problem" with its
        files. None in all processes but the first.

    Raises
    ------
    Stopped
        When a worker or another process has ended.
    """
    mark = _fingerprint(pairs, device, backend)
    store = _Store(kept, mark) if rank == 0 else None
    first, done = _together(lambda: _from_first((mark, set(store.rows)) if rank == 0 else None, count), kept)
    if mark != first:
        raise Stopped(f"process {rank} has other images, settings or sources ({mark}) than the first one ({first})")
    todo = [index for index, name in enumerate(pairs.names) if name not in done]
    mine = iter(_loader(pairs, todo[rank::count], device, backend, workers))
    chunk = _CHUNK if count > 1 else 1
    bar = tqdm(total=len(pairs), initial=len(done), disable=rank != 0, **harness.bar(title))
    with bar, _single_thread():
        for _ in range(math.ceil(len(todo) / (count * chunk))):
            rows = _from_workers(lambda: list(itertools.islice(mine, chunk)), kept)
            gathered = _together(lambda rows=rows: _to_all(rows, count), kept)
            if rank == 0:
                store.add(gathered)
                bar.update(len(gathered))
    return [store.rows[name] for name in pairs.names] if rank == 0 else None


def gray(image):
    """One plane of float64 in whole gray levels, as MATLAB's rgb2gray makes it of an image of uint8."""
    if image.ndim == 2:
        return image.astype(np.float64)
    red, green, blue = (image[..., channel] * weight for channel, weight in enumerate(GRAY))
    return np.floor(red + green + blue + 0.5)


class _Scores(Dataset):
    """What is scored where it is taken, so that workers do not only read files."""

    def __init__(self, pairs, device, backend):
        self.pairs, self.device, self.backend = pairs, device, backend

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        name = self.pairs.names[index]
        try:
            pair = self.pairs[index]
        except datasets.BrokenImage as broken:
            return {"pair": name, "problem": str(broken)}
        images = [torch.from_numpy(gray(image)).to(self.device) for image in (pair.reference, pair.distorted)]
        values = {}
        for key, quantity in QUANTITIES.items():
            try:
                options = {"data_range": pair.data_range, "backend": self.backend}
                values[key] = float(library.value(quantity, *images, **options))
            except ValueError as error:  # too small for five scales
                return {"pair": name, "problem": f"{name}: {error}"}
        return {"pair": name, **values}


class _Store:
    """The file of what is scored: a line that says what it is of, then one for each pair."""

    def __init__(self, path, fingerprint):
        self.path, self.rows = pathlib.Path(path), {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        if lines[:1] == [fingerprint]:
            for line in lines[1:]:
                with contextlib.suppress(ValueError):  # the last line, of a run that was stopped while it wrote
                    row = json.loads(line)
                    self.rows[row["pair"]] = row
        elif lines:
            print(f"{self.path}: of other images, settings or sources, so everything is scored anew", file=sys.stderr)
        kept = [fingerprint, *(json.dumps(row) for row in self.rows.values())]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, rows):
        with open(self.path, "a", encoding="utf-8") as file:
            for row in rows:
                self.rows[row["pair"]] = row
                if "problem" not in row:  # which may be mended before the next run
                    file.write(json.dumps(row) + "\n")


def _fingerprint(pairs, device, backend):
    """What scores depend on, in one line: sources, versions, settings, and which pairs."""
    found = hashlib.sha256()
    folders = [pathlib.Path(module.__file__).parent for module in (msssim, datasets)]
    folders.append(pathlib.Path(__file__).parent)
    for file in sorted(
        [pathlib.Path(library.__file__), *(file for folder in folders for file in folder.rglob("*.py"))]
    ):
        found.update(file.read_bytes())
    found.update(repr((torch.__version__, np.__version__, pairs.names)).encode())
    kind = torch.device(device).type
    return json.dumps({"sources": found.hexdigest()[:16], "device": kind, "backend": backend, "pairs": len(pairs)})


def _loader(pairs, indices, device, backend, workers):
    # CUDA cannot be used in a forked process.
    context = "spawn" if workers and torch.device(device).type == "cuda" else None
    return DataLoader(
        _Scores(pairs, device, backend), sampler=indices, batch_size=None, num_workers=workers,
        multiprocessing_context=context, collate_fn=_as_it_is,
    )  # fmt: skip


def _as_it_is(row):
    return row


@contextlib.contextmanager
def _single_thread():
    """As in a worker of a DataLoader: the order of summation, and with it the last bits, may depend on threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _from_first(value, count):
    """The value that the first process has, in every one."""
    if count > 1:
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]
    return value


def _to_all(rows, count):
    """The rows of all processes, in the order in which the pairs were dealt out."""
    if count > 1:
        of_each = [None] * count
        distributed.all_gather_object(of_each, rows)
        return [row for dealt in itertools.zip_longest(*of_each) for row in dealt if row is not None]
    return rows


def _together(meet, kept):
    try:
        return meet()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise Stopped(
            f"another process of this run has ended, or is out of reach ({reason}). {_advice(kept)}"
        ) from error


def _from_workers(take, kept):
    try:
        return take()
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise Stopped(f"a worker has ended: {reason}. {_advice(kept)}") from error


def _advice(kept):
    return f"What was scored is kept in {kept}; the same command goes on from there"
