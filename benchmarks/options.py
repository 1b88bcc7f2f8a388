"""Times of what `python -m benchmarks` has no cases for: masks, padding, windows, volumes, signals and stream().

python -m benchmarks.options                 print a table
python -m benchmarks.options --quick         of small inputs, to see that it runs
python -m benchmarks.options FILE            and write it as JSON, as benchmarks/results/options.json

The calls of a group take turns. Peers that are not installed are skipped. Values are printed beside the times: those of
padding and windows differ between packages.
"""

import functools
import json
import math
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

import msssim
from reference.peers import PEERS
from validation.report import machine

from . import new_process, timing
from .cases import FORWARD, MODES, WIN_SIZE, Case
from .ceilings import FORWARD_WORK

Images = tuple[torch.Tensor, torch.Tensor]
Index = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_SECONDS = {True: 0.2, False: 10.0}  # for each group, if it is quick
_SLOW = 3.0  # seconds
_UNIFORM = 7
_PRODUCT = "matrix product"


class Group(NamedTuple):
    """Calls that are compared; times are relative to the first one."""

    name: str
    size: tuple[int, ...]
    calls: dict[str, Callable[[], float]]
    floor: int = 0
    """Multiply-adds without which no call can do; 0 where that is not known."""


def groups(quick: bool, folder: pathlib.Path) -> Iterator[Group]:
    """Yield the groups; `folder` is for files that are streamed."""
    side, depth = (64, 24) if quick else (512, 128)
    images, volumes = _pair((1, 3, side, side)), _pair((1, 1, depth, depth, depth))
    signals = _pair((8, 1, 1 << (12 if quick else 18)))
    for name, indices in (("mask", _masks(side)), ("zeros", _zeros()), ("uniform", _uniform())):
        yield from _both_modes(name, images, indices)
    yield from _both_modes("volumes", volumes, _volumes())
    yield from _both_modes("signals", signals, {"msssim torch": functools.partial(msssim.ssim, spatial_dims=1)})
    yield _stream(1024 if quick else 8192, folder)


def _pair(shape: tuple[int, ...]) -> Images:
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.rand(shape, generator=generator) for _ in range(2))
    return x, 0.9 * x + 0.1 * noise


def _both_modes(name: str, images: Images, indices: dict[str, Index]) -> Iterator[Group]:
    shape, windows = tuple(images[0].shape), math.prod(side - WIN_SIZE + 1 for side in images[0].shape[2:])
    for mode in MODES:
        gradient = mode != FORWARD
        calls: dict[str, Callable[[], float]] = {
            key: functools.partial(_call, index, images, gradient) for key, index in indices.items()
        }
        floor = 3 * FORWARD_WORK * windows if name == "volumes" and not gradient else 0
        yield Group(f"{name} {mode}", shape, calls, floor)


def _call(index: Index, images: Images, gradient: bool) -> float:
    if not gradient:
        with torch.no_grad():
            return float(index(*images))
    x = images[0].detach().requires_grad_()
    value = index(x, images[1])
    torch.autograd.grad(value, x)
    return value.item()


def _installed(indices: dict[str, Index | None]) -> dict[str, Index]:
    return {name: index for name, index in indices.items() if index is not None}


def _peer(name: str) -> Any:
    """SSIM of a peer with data_range 1, or None."""
    peer = PEERS[name]
    return None if peer.unavailable_reason() else peer.function("ssim", data_range=1.0)


def _masks(side: int) -> dict[str, Index]:
    row, column = torch.arange(side)[:, None] - side / 2, torch.arange(side) - side / 2
    mask = row * row + column * column < (side / 3) ** 2
    return {
        "msssim with a mask": functools.partial(msssim.ssim, mask=mask),
        "msssim torch, no mask": functools.partial(msssim.ssim, backend="torch"),
        "msssim, no mask": msssim.ssim,
    }


def _zeros() -> dict[str, Index]:
    plain = _peer("pytorch-msssim")
    padded = None if plain is None else lambda x, y: plain(F.pad(x, (5,) * 4), F.pad(y, (5,) * 4))
    # fused-ssim pads by zeros unless told otherwise, and runs on a GPU only.
    return _installed(
        {
            "msssim": functools.partial(msssim.ssim, padding="zeros"),
            "msssim, valid": msssim.ssim,
            "pytorch-msssim of padded images": padded,
            "torchmetrics (reflected)": _peer("torchmetrics"),
        }
    )


def _uniform() -> dict[str, Index]:
    found: dict[str, Index | None] = {
        "msssim": functools.partial(msssim.ssim, window="uniform", win_size=_UNIFORM, padding="reflect")
    }
    if not PEERS["pytorch-msssim"].unavailable_reason():
        import pytorch_msssim

        taps = torch.full((3, 1, 1, _UNIFORM), 1 / _UNIFORM)
        ssim = functools.partial(pytorch_msssim.ssim, data_range=1.0, win=taps)
        edges, kind = (_UNIFORM // 2,) * 4, "reflect"
        found["pytorch-msssim of padded images"] = lambda x, y: ssim(F.pad(x, edges, kind), F.pad(y, edges, kind))
    if not PEERS["torchmetrics"].unavailable_reason():
        from torchmetrics.functional.image import structural_similarity_index_measure

        found["torchmetrics"] = functools.partial(
            structural_similarity_index_measure, data_range=1.0, gaussian_kernel=False, kernel_size=_UNIFORM
        )
    return _installed(found)


def _volumes() -> dict[str, Index]:
    names = [name for name in ("numba", "torch") if name in msssim.available_backends()]
    ours = {f"msssim {name}": functools.partial(msssim.ssim, spatial_dims=3, backend=name) for name in names}
    return _installed({**ours, **{name: _peer(name) for name in ("pytorch-msssim", "MONAI", "torchmetrics")}})


def _stream(side: int, folder: pathlib.Path) -> Group:
    """Files in the page cache: they were just written."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (side, side), dtype=np.uint8)
    other = pixels // 10 * 9 + random.integers(0, 26, (side, side), dtype=np.uint8)
    files = []
    for name, image in (("reference", pixels), ("distorted", other)):
        image.tofile(folder / name)
        files.append(np.memmap(folder / name, np.uint8, "r", shape=(side, side)))
    x, y = torch.from_numpy(pixels), torch.from_numpy(other)
    backend: Any = "numba" if "numba" in msssim.available_backends() else "torch"
    calls = {
        "msssim in memory": lambda: msssim.msssim(x, y, backend=backend).item(),
        "msssim.stream": lambda: msssim.stream(files[0], files[1]).item(),
    }
    return Group("stream", (side, side), calls)


def _product(side: int) -> Callable[[], float]:
    """Multiply two matrices: side³ multiply-adds, at the highest rate of the machine."""
    left, right = torch.ones(side, side), torch.ones(side, side)
    return lambda: float((left @ right)[0, 0])


def measure(group: Group, quick: bool) -> dict[str, Any]:
    """Time a group. The lower bound is from matrix products in turns with the calls: the rate of a machine changes."""
    values: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for name, call in group.calls.items():
        start = time.perf_counter()
        values[name] = call()  # it also compiles
        seconds[name] = time.perf_counter() - start
    # Peers that take so long are called once.
    slow = {name for name in seconds if seconds[name] > _SLOW and not name.startswith("msssim")}
    entries = {name: timing.Entry(call) for name, call in group.calls.items() if name not in slow}
    side = 64 if quick else 1024
    if group.floor:
        entries[_PRODUCT] = timing.Entry(_product(side))
    sample = timing.sampler(lambda: None)
    timed = timing.interleaved(entries, seconds=_SECONDS[quick], rounds=(1 if quick else 3, 100), sample=sample)
    seconds |= {name: timed[name].quartiles.median for name in entries if name != _PRODUCT}
    first = next(iter(seconds.values()))
    calls = [
        {"call": name, "seconds": one, "ratio": one / first, "value": values[name]} for name, one in seconds.items()
    ]
    floor = {}
    if group.floor:
        floor["floor seconds"] = group.floor * timed[_PRODUCT].quartiles.median / side**3
    return {"group": group.name, "size": list(group.size), **floor, "calls": calls}


def memory_of_volumes(quick: bool) -> dict[str, Any]:
    """Measure the peak memory of SSIM of a pair of volumes, each call in a new process."""
    start, large = ((1, 1, side, side, side) for side in ((16, 32) if quick else (32, 256)))
    calls = []
    for name in ("msssim numba", "pytorch-msssim")[: 1 if quick else 2]:
        for mode in MODES:
            case = Case("ssim", mode, large)
            found = new_process.run(name, case._replace(shape=start), case, threads=1)
            if "peak" in found:
                calls.append({"call": f"{name} {mode}", "peak inputs": found["peak"] / case.input_bytes})
    return {"group": "memory of volumes", "size": list(large), "calls": calls}


def main(arguments: list[str]) -> None:
    """Measure, print, and write a file where one is named."""
    quick = "--quick" in arguments
    files = [each for each in arguments if each != "--quick"]
    torch.set_num_threads(1)
    results = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        for group in groups(quick, pathlib.Path(folder)):
            results.append(measure(group, quick))
            print(f"{group.name}, {'x'.join(map(str, group.size))}")
            for one in results[-1]["calls"]:
                print(f"  {one['call']:34} {one['seconds'] * 1e3:10.2f} ms  ({one['ratio']:6.2f})  {one['value']:.6f}")
            if "floor seconds" in results[-1]:
                print(f"  {'lower bound':34} {results[-1]['floor seconds'] * 1e3:10.2f} ms")
    results.append(memory_of_volumes(quick))
    print(f"peak memory above the volumes, {'x'.join(map(str, results[-1]['size']))}")
    for one in results[-1]["calls"]:
        print(f"  {one['call']:34} {one['peak inputs']:10.2f} inputs")
    if files:
        result = {"machine": machine.describe("cpu"), "groups": results}
        pathlib.Path(files[0]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
