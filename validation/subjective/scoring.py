"""Score the pairs of a database in worker processes and under torchrun, and resume after an interruption.

Each pair is scored separately, in float64 and on one thread, so that its scores have the same bits everywhere. The
first process writes the scores to a file, one line per pair, and reads it again when the run is restarted.
"""

import contextlib
import datetime
import functools
import hashlib
import itertools
import json
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

import datasets
import msssim

from .. import harness, library

# The scores, by their name in files.
QUANTITIES = {"ssim": library.SSIM_REDUCED, "msssim": library.PRODUCT, "msssim_wtd_sum": library.WTD_SUM}
# The weights of MATLAB's rgb2gray.
GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
_CHUNK = 8  # pairs that each process scores between two exchanges
_TIMEOUT = datetime.timedelta(minutes=10)  # for the other processes in an exchange

Row = dict[str, Any]
_T = TypeVar("_T")


class Stopped(RuntimeError):
    """A part of the run has ended early. The message says which part, and where the scores so far are kept."""


class Process(NamedTuple):
    """One of the processes that torchrun started, or the only process."""

    rank: int
    world_size: int
    device: str


@contextlib.contextmanager
def processes(device: str) -> Iterator[Process]:
    """Join the processes that torchrun started, if any."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Process(0, 1, device)
        return
    cuda = torch.device(device).type == "cuda"
    if cuda and torch.device(device).index is None:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_TIMEOUT)
    try:
        yield Process(distributed.get_rank(), count, device)
    finally:
        distributed.destroy_process_group()


def score(
    pairs: datasets.Pairs,
    file: pathlib.Path,
    *,
    title: str,
    process: Process | None = None,
    backend: str = "auto",
    workers: int = 0,
) -> list[Row] | None:
    """Score every pair.

    Parameters
    ----------
    pairs : datasets.Pairs
        The pairs to score; the same in every process.
    file : Path
        The file to which the first process writes scores.
    title : str
        The title of the progress bar.
    process : Process, optional
        See :func:`processes`; by default the only process, on the CPU.
    backend : str
        The backend of the library.
    workers : int
        The number of worker processes of each process; 0 scores in the process itself.

    Returns
    -------
    list of dict, or None
        For each pair, in order, its "pair" (name) and either the values of `QUANTITIES` or the "problem" with its
        files. None in all processes but the first.

    Raises
    ------
    Stopped
        If a worker or another process has ended.
    """
    rank, count, device = process = process or Process(0, 1, "cpu")
    fingerprint = _fingerprint(pairs, device, backend)
    store = _Store(file, fingerprint) if rank == 0 else None
    start = (fingerprint, set(store.rows)) if store else None
    first, done = _exchange(functools.partial(_broadcast, start, count), file)
    if fingerprint != first:
        raise Stopped(
            f"process {rank} has other images, settings or sources ({fingerprint}) than the first process ({first})"
        )
    todo = [index for index, name in enumerate(pairs.names) if name not in done]
    own_rows = iter(_loader(pairs, todo[rank::count], process, backend, workers))
    chunk = _CHUNK if count > 1 else 1
    bar = tqdm(total=len(pairs), initial=len(done), disable=rank != 0, **harness.bar(title))
    # One thread, as in a DataLoader worker: the order of summation, and so the last bits, depend on threads.
    with bar, harness.single_threads():
        for _ in range(math.ceil(len(todo) / (count * chunk))):
            rows = _take(lambda: list(itertools.islice(own_rows, chunk)), file)
            gathered = _exchange(functools.partial(_gather, rows, count), file)
            if store:
                store.add(gathered)
                bar.update(len(gathered))
    return [store.rows[name] for name in pairs.names] if store else None


def gray(image: np.ndarray) -> np.ndarray:
    """Convert a uint8 image to one float64 plane of integer gray levels, as MATLAB's rgb2gray does."""
    if image.ndim == 2:
        return image.astype(np.float64)
    red, green, blue = (image[..., channel] * weight for channel, weight in enumerate(GRAY))
    return np.floor(red + green + blue + 0.5)


class _Scores(Dataset[Row]):
    """Computes the scores on access, so that workers do not only read files."""

    def __init__(self, pairs: datasets.Pairs, device: str, backend: str) -> None:
        self.pairs, self.device, self.backend = pairs, device, backend

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Row:
        name = self.pairs.names[index]
        try:
            pair = self.pairs[index]
        except datasets.BrokenImage as broken:
            return {"pair": name, "problem": str(broken)}
        images = [torch.from_numpy(gray(image)).to(self.device) for image in (pair.reference, pair.distorted)]
        row: Row = {"pair": name}
        for key, quantity in QUANTITIES.items():
            try:
                value = library.value(quantity, *images, data_range=pair.data_range, backend=self.backend)
                row[key] = float(value)
            except ValueError as error:  # too small for five scales
                return {"pair": name, "problem": f"{name}: {error}"}
        return row


class _Store:
    """The file with the scores: a line with the fingerprint of the run, then one line per pair."""

    def __init__(self, path: pathlib.Path, fingerprint: str) -> None:
        self.path = pathlib.Path(path)
        self.rows: dict[str, Row] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        if lines[:1] == [fingerprint]:
            for line in lines[1:]:
                with contextlib.suppress(ValueError):  # the last line may be incomplete after an interruption
                    row = json.loads(line)
                    self.rows[row["pair"]] = row
        elif lines:
            print(f"{self.path}: has other images, settings or sources; scoring everything again", file=sys.stderr)
        lines = [fingerprint, *(json.dumps(row) for row in self.rows.values())]
        self.path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def add(self, rows: Iterable[Row]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            for row in rows:
                self.rows[row["pair"]] = row
                if "problem" not in row:  # a problem may be fixed before the next run
                    file.write(json.dumps(row) + "\n")


def _fingerprint(pairs: datasets.Pairs, device: str, backend: str) -> str:
    """Return one line with everything that scores depend on: sources, versions, settings, and pairs."""
    digest = hashlib.sha256()
    folders = [pathlib.Path(str(module.__file__)).parent for module in (msssim, datasets)]
    folders.append(pathlib.Path(__file__).parent)
    files = [pathlib.Path(str(module.__file__)) for module in (harness, library)]
    files += [file for folder in folders for file in folder.rglob("*.py")]
    for file in sorted(files):
        digest.update(file.read_bytes())
    digest.update(repr((torch.__version__, np.__version__, pairs.names)).encode())
    kind = torch.device(device).type
    return json.dumps({"sources": digest.hexdigest()[:16], "device": kind, "backend": backend, "pairs": len(pairs)})


def _loader(pairs: datasets.Pairs, indices: list[int], process: Process, backend: str, workers: int) -> Iterable[Row]:
    # CUDA cannot be used in a forked process.
    context = "spawn" if workers and torch.device(process.device).type == "cuda" else None
    return DataLoader(
        _Scores(pairs, process.device, backend), sampler=indices, batch_size=None, num_workers=workers,
        multiprocessing_context=context, collate_fn=_identity,
    )  # fmt: skip


def _identity(row: Any) -> Any:
    return row


def _broadcast(value: Any, count: int) -> Any:
    """Return the value of the first process in every process."""
    if count > 1:
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]
    return value


def _gather(rows: list[Row], count: int) -> list[Row]:
    """Return the rows of all processes in the order of the pairs."""
    if count > 1:
        by_process: list[Any] = [None] * count
        distributed.all_gather_object(by_process, rows)
        return [row for each in itertools.zip_longest(*by_process) for row in each if row is not None]
    return rows


def _exchange(exchange: Callable[[], _T], file: pathlib.Path) -> _T:
    try:
        return exchange()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise Stopped(f"another process of this run ended or cannot be reached ({reason}). {_advice(file)}") from error


def _take(take: Callable[[], _T], file: pathlib.Path) -> _T:
    try:
        return take()
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise Stopped(f"a worker process ended: {reason}. {_advice(file)}") from error


def _advice(file: pathlib.Path) -> str:
    return f"The scores so far are kept in {file}; the same command resumes from there"
