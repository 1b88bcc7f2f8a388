"""Train the same small denoiser with four losses, side by side: L2, L1, 1 - MS-SSIM, and the mix of MS-SSIM and L1.

    python -m examples.train_denoiser --out denoiser.png
    torchrun --nproc-per-node 2 -m examples.train_denoiser --accumulate 2

Run it from the root of the repository. It trains on crops of the photographs in scikit-image, or of Kodak's if the
environment variable MSSSIM_DATA names a folder with `kodak`, and prints PSNR, SSIM and MS-SSIM of held-out photographs.
The picture shows the curves and samples. It needs NumPy, Pillow and scikit-image, and Matplotlib for the picture.
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import msssim

Loss = Callable[[Tensor, Tensor], Tensor]

# small="fewer" matters only with --crop below 176.
LOSSES: dict[str, Loss] = {
    "L2": F.mse_loss,
    "L1": F.l1_loss,
    "MS-SSIM": msssim.MSSSIMLoss(small="fewer"),
    "mix": msssim.MSSSIML1Loss(small="fewer"),
}
_TRAINING, _HELD_OUT = ("astronaut", "coffee", "rocket", "cat"), ("immunohistochemistry", "hubble_deep_field")


class Denoiser(nn.Module):
    """Predicts the noise by five convolutions; the last one starts at zero."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = [3, *[width] * 4, 3]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        nn.init.zeros_(cast(nn.Conv2d, layers[-2]).weight)
        self.noise = nn.Sequential(*layers[:-1])

    def forward(self, noisy: Tensor) -> Tensor:
        output: Tensor = noisy - self.noise(noisy)
        return output


class Point(NamedTuple):
    """The held-out metrics at a step."""

    step: int
    psnr: float
    ssim: float
    msssim: float


class Result(NamedTuple):
    """Of the training with one loss."""

    losses: list[float]
    points: list[Point]
    samples: Tensor
    step_seconds: float


def load_images() -> tuple[list[Tensor], list[Tensor]]:
    """(training, held-out) photographs, (3, H, W) in 0..1."""
    kodak = sorted(pathlib.Path(os.environ.get("MSSSIM_DATA", "."), "kodak").rglob("*.png"))
    if kodak:
        arrays = [np.asarray(Image.open(path).convert("RGB")) for path in kodak]
    else:
        from skimage import data

        arrays = [getattr(data, name)() for name in (*_TRAINING, *_HELD_OUT)]
    images = [torch.from_numpy(np.array(array)).permute(2, 0, 1).float() / 255 for array in arrays]
    images = [image for image in images if min(image.shape[1:]) >= 176]
    split = max(1, len(images) * 2 // 3)
    return images[:split], images[split:]


def batch(images: list[Tensor], options: argparse.Namespace, seed: int) -> tuple[Tensor, Tensor]:
    """(noisy, clean) crops of a step; the seed decides, so that every process can take its share."""
    generator = torch.Generator().manual_seed(seed)
    crops = []
    for _ in range(options.batch):
        image = images[int(torch.randint(len(images), (), generator=generator))]
        top, left = (int(torch.randint(side - options.crop + 1, (), generator=generator)) for side in image.shape[1:])
        crops.append(image[:, top : top + options.crop, left : left + options.crop])
    clean = torch.stack(crops)
    return clean + options.noise * torch.randn(clean.shape, generator=generator), clean


def train(criterion: Loss, images: tuple[list[Tensor], list[Tensor]], options: argparse.Namespace) -> Result:
    """Train a denoiser from the same start as every other."""
    torch.manual_seed(options.seed)
    model = plain = Denoiser()
    if torch.distributed.is_initialized():
        model = DistributedDataParallel(plain)  # type: ignore[assignment]
    if options.compile:
        model = torch.compile(model)  # type: ignore[assignment]
    optimizer = torch.optim.Adam(plain.parameters(), lr=options.lr)
    held_out = batch(images[1], argparse.Namespace(**vars(options) | {"batch": 4}), seed=-1)
    losses, points, seconds = [], [evaluate(plain, held_out, 0)], 0.0
    for step in range(options.steps):
        noisy, clean = (_share(each) for each in batch(images[0], options, options.seed + step))
        start = time.perf_counter()
        losses.append(_step(model, optimizer, criterion, noisy, clean, options))
        seconds += time.perf_counter() - start
        if (step + 1) % options.evaluate == 0 or step + 1 == options.steps:
            points.append(evaluate(plain, held_out, step + 1))
    with torch.no_grad():
        samples = torch.stack([held_out[1], held_out[0], plain(held_out[0])])
    return Result(losses, points, samples.clamp(0, 1), seconds / max(1, options.steps))


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, criterion: Loss, noisy: Tensor, clean: Tensor,
    options: argparse.Namespace,
) -> float:  # fmt: skip
    """One step of the optimizer, over as many parts of the batch as gradients are accumulated; return the loss."""
    optimizer.zero_grad()
    total = torch.zeros(())
    parts = list(zip(noisy.chunk(options.accumulate), clean.chunk(options.accumulate), strict=True))
    for number, (part, target) in enumerate(parts):
        with _without_sync(model, last=number + 1 == len(parts)):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.amp == "bf16"):
                output = model(part)
            # Outside of autocast or inside makes no difference: the index is computed in float32.
            loss = criterion(output.float(), target) * (len(part) / len(noisy))
            loss.backward()
        total += loss.detach()
    optimizer.step()
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
        total /= torch.distributed.get_world_size()
    return total.item()


@contextlib.contextmanager
def _without_sync(model: nn.Module, last: bool) -> Iterator[None]:
    """Processes exchange gradients after the last part of a batch only."""
    inner: nn.Module = getattr(model, "_orig_mod", model)  # of torch.compile
    if isinstance(inner, DistributedDataParallel) and not last:
        with inner.no_sync():
            yield
    else:
        yield


def _share(images: Tensor) -> Tensor:
    """The images of this process."""
    if not torch.distributed.is_initialized():
        return images
    return images.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]


@torch.no_grad()
def evaluate(model: nn.Module, pair: tuple[Tensor, Tensor], step: int) -> Point:
    """The metrics of held-out crops."""
    noisy, clean = pair
    output = model(noisy).clamp(0, 1)
    psnr = -10 * torch.log10(F.mse_loss(output, clean))
    index = msssim.msssim(output, clean, small="fewer")
    return Point(step, psnr.item(), msssim.ssim(output, clean).item(), index.item())


def loss_costs(options: argparse.Namespace, repeats: int = 5) -> dict[str, float]:
    """Seconds of MS-SSIM with its gradient for one batch, by implementation; the median."""
    shape = options.batch, 3, max(176, options.crop), max(176, options.crop)
    output, target = torch.rand(shape), torch.rand(shape)
    choices: dict[str, Loss] = {
        f"msssim, {name}": msssim.MSSSIMLoss(backend=name)
        for name in msssim.available_backends()
        if name in ("numba", "torch")
    }
    if importlib.util.find_spec("pytorch_msssim"):
        from pytorch_msssim import ms_ssim

        choices["pytorch-msssim"] = lambda x, y: 1 - ms_ssim(x, y, data_range=1)
    found = {}
    for name, criterion in choices.items():
        times = []
        for _ in range(repeats + 1):  # the first one compiles
            image = output.clone().requires_grad_()
            start = time.perf_counter()
            criterion(image, target).backward()
            times.append(time.perf_counter() - start)
        found[name] = sorted(times[1:])[repeats // 2]
    return found


def plot(results: dict[str, Result], path: str) -> None:
    """Curves of the metrics, and below them a held-out crop: clean, noisy, and the output of each training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 * (len(results) + 2), 6.5), layout="constrained")
    halves: Any = figure.subfigures(2, 1)
    above, below = halves
    for axes, name in zip(above.subplots(1, 3), Point._fields[1:], strict=True):
        for label, result in results.items():
            axes.plot(
                [each.step for each in result.points], [getattr(each, name) for each in result.points], label=label
            )
        axes.set(title={"psnr": "PSNR (dB)", "ssim": "SSIM", "msssim": "MS-SSIM"}[name], xlabel="step")
    axes.legend()
    first = next(iter(results.values())).samples
    pictures = {"clean": first[0, 0], "noisy": first[1, 0]} | {
        name: each.samples[2, 0] for name, each in results.items()
    }
    for axes, (title, picture) in zip(below.subplots(1, len(pictures)), pictures.items(), strict=True):
        axes.imshow(picture.permute(1, 2, 0).numpy())
        axes.set_title(title)
        axes.set_axis_off()
    figure.savefig(path, dpi=100)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description="train a denoiser with four losses side by side")
    add = parser.add_argument
    add("--losses", nargs="+", choices=LOSSES, default=list(LOSSES), metavar="LOSS", help=", ".join(LOSSES))
    add("--steps", type=int, default=200, help="of each training")
    add("--batch", type=int, default=4, help="crops in a step, of all processes together")
    add("--crop", type=int, default=176, help="pixels of a side of a crop")
    add("--noise", type=float, default=0.1, help="standard deviation of the noise")
    add("--lr", type=float, default=2e-3)
    add("--seed", type=int, default=0)
    add("--evaluate", type=int, default=20, help="steps between two points of the curves")
    add("--accumulate", type=int, default=1, help="parts of a batch over which gradients are accumulated")
    add("--amp", choices=("none", "bf16"), default="none", help="autocast of the model")
    add("--compile", action="store_true", help="compile the model by torch.compile")
    add("--out", help="PNG file for curves and samples")
    add("--json", help="JSON file for the losses of all steps and the held-out metrics")
    options = parser.parse_args(arguments)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if options.batch % (processes * options.accumulate):
        parser.error(f"--batch must be a multiple of {processes * options.accumulate}, got {options.batch}")
    return options


def main(arguments: Sequence[str] | None = None) -> dict[str, Result]:
    """Train with each loss, and print the metrics and what the loss costs."""
    options = parse(arguments)
    distributed = "WORLD_SIZE" in os.environ  # set by torchrun
    if distributed:
        torch.distributed.init_process_group("gloo")
    try:
        images = load_images()
        results = {name: train(LOSSES[name], images, options) for name in options.losses}
        if not distributed or torch.distributed.get_rank() == 0:
            report(results, options)
        return results
    finally:
        if distributed:
            torch.distributed.destroy_process_group()


def report(results: dict[str, Result], options: argparse.Namespace) -> None:
    """Print the table, and write the picture."""
    print(f"{'loss':<8} {'PSNR':>6} {'SSIM':>7} {'MS-SSIM':>8} {'ms a step':>10}")
    for name, result in results.items():
        last = result.points[-1]
        milliseconds = 1e3 * result.step_seconds
        print(f"{name:<8} {last.psnr:6.2f} {last.ssim:7.4f} {last.msssim:8.4f} {milliseconds:10.1f}")
    for name, seconds in loss_costs(options).items():
        print(f"MS-SSIM with its gradient, {name}: {1e3 * seconds:.1f} ms of a step")
    if options.json:
        curves = {name: {"losses": each.losses, "points": each.points} for name, each in results.items()}
        pathlib.Path(options.json).write_text(json.dumps(curves), encoding="utf-8")
    if options.out:
        plot(results, options.out)


if __name__ == "__main__":
    main()
