"""Train for some steps, and count steps with NaN, with a gradient of zero, and with an exploding gradient."""

import math
import statistics
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import nn

import msssim

from . import losses, networks

STEPS = 50
EXPLODING = 100  # times the median norm of the gradient over the steps of the same training
_LEARNING_RATE = 2e-3
_HELD_OUT = 10**6  # seed of the images at which `start` and `end` are measured
AUTOCAST = "bf16 autocast"
PRECISIONS = ("float32", AUTOCAST)


class Setup(NamedTuple):
    """What is trained."""

    candidate: losses.Candidate
    crop: int
    precision: str
    network: str
    seed: int
    steps: int
    device: str


class Training(NamedTuple):
    """The outcome of one training: a line of the committed rows."""

    loss: str
    crop: int
    precision: str
    network: str
    seed: int
    steps: int
    nan_step: float
    """The first step whose loss or gradient is not finite, at which the training ends; NaN if there is none."""
    zero_steps: int
    """Steps at which the gradient of every parameter is zero."""
    dead_images: int
    """Images whose gradient is zero at every pixel, over all steps."""
    exploding_steps: int
    largest_norm: float
    """Of the gradient, divided by the median norm."""
    start: float
    """MS-SSIM of held-out images before, with normalize="covariance"."""
    end: float


def measure(setups: Iterable[Setup]) -> Iterator[Training]:
    """Yield the outcome of each training."""
    for setup in setups:
        yield train(setup)


def train(setup: Setup) -> Training:
    """Train with Adam, on new images at each step; the seed decides on the start and the images."""
    network = networks.make(setup.network, setup.seed).to(setup.device)
    criterion = setup.candidate.make(losses.CROPS[setup.crop])
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    held_out = _images(setup, _HELD_OUT)
    start, norms, dead_images, nan_step = _index(network, held_out), [], 0, math.nan
    for step in range(setup.steps):
        norm, dead = _gradient(network, criterion, _images(setup, step), setup)
        if not math.isfinite(norm):
            nan_step = step
            break
        norms.append(norm)
        dead_images += dead
        optimizer.step()
    typical = statistics.median([norm for norm in norms if norm > 0] or [1.0])
    exploding = sum(norm > EXPLODING * typical for norm in norms)
    return Training(
        setup.candidate.name, setup.crop, setup.precision, setup.network, setup.seed, setup.steps, nan_step,
        norms.count(0.0), dead_images, exploding, max(norms, default=math.nan) / typical, start,
        _index(network, held_out) if math.isnan(nan_step) else math.nan,
    )  # fmt: skip


def _images(setup: Setup, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    given, target = networks.batch(setup.network, setup.crop, setup.seed * 2_000_003 + number)
    return given.to(setup.device), target.to(setup.device)


def _gradient(
    network: nn.Module, criterion: losses.Loss, images: tuple[torch.Tensor, torch.Tensor], setup: Setup
) -> tuple[float, int]:
    """Compute the gradients of a step; return (norm, number of images whose gradient is zero).

    The norm is NaN or infinite if a gradient or the loss is not finite.
    """
    given, target = images
    network.zero_grad()
    device = torch.device(setup.device).type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=setup.precision == AUTOCAST):
        output = network(given)
        output.retain_grad()
        # Inside of autocast, as in most training loops. Not every package accepts two dtypes.
        loss = criterion(output, target.to(output.dtype))
    loss.backward()
    gradients = [each.grad.double() for each in network.parameters() if each.grad is not None]
    norm = torch.stack([each.norm() for each in gradients]).norm()
    dead = sum(not bool(image.any()) for image in output.grad)
    return float(norm) if bool(loss.isfinite()) else math.nan, dead


@torch.no_grad()
def _index(network: nn.Module, images: tuple[torch.Tensor, torch.Tensor]) -> float:
    given, target = images
    return float(msssim.msssim(network(given), target, normalize="covariance", small="fewer", data_range=1.0))
