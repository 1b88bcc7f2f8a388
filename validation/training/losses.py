"""The losses that are compared, each for images (N, 1, H, W) in 0..1."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

import msssim
from msssim.multiscale import truncate_weights
from reference.peers import PEERS

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Pixels of a side. The larger crop has the five scales of the paper, and pytorch-msssim accepts no smaller one; the
# smaller crop has three, and is what makes torchmetrics and kornia affordable.
CROPS = {64: 3, 176: 5}
MODES: tuple[str | None, ...] = (None, "relu", "simple", "covariance")


class Candidate(NamedTuple):
    """A loss by name."""

    name: str
    make: Callable[[int], Loss]
    """From the number of scales to the loss."""
    crops: tuple[int, ...] = tuple(CROPS)
    package: str = ""
    """Key of `reference.peers.PEERS`, or empty."""


def candidates(backend: str) -> list[Candidate]:
    """Return all losses; those of this library use the backend."""
    ours = [Candidate(own_name(mode), functools.partial(_own, mode, backend)) for mode in MODES]
    return [
        *ours,
        Candidate("pytorch-msssim", _pytorch_msssim, (176,), "pytorch-msssim"),
        Candidate("torchmetrics, normalize=None", functools.partial(_torchmetrics, None), (64,), "torchmetrics"),
        Candidate("torchmetrics, normalize='relu'", functools.partial(_torchmetrics, "relu"), (64,), "torchmetrics"),
        Candidate(
            "torchmetrics, normalize='simple'", functools.partial(_torchmetrics, "simple"), (64,), "torchmetrics"
        ),
        Candidate("kornia", _kornia, (64,), "kornia"),
        Candidate(CONTROL, lambda scales: torch.nn.functional.mse_loss),
    ]


CONTROL = "mean squared error"


def own_name(mode: str | None) -> str:
    """Return the name of this library's loss in a mode."""
    return f"msssim, normalize={mode!r}"


def unavailable(candidate: Candidate) -> str | None:
    """Return why a loss cannot be measured here, or None."""
    return PEERS[candidate.package].unavailable_reason() if candidate.package else None


def _own(mode: str | None, backend: str, scales: int) -> Loss:
    options: dict[str, Any] = {"normalize": mode, "small": "fewer", "data_range": 1.0, "backend": backend}
    return functools.partial(msssim.msssim_loss, **options)


def _pytorch_msssim(scales: int) -> Loss:
    import pytorch_msssim

    return lambda output, target: 1 - pytorch_msssim.ms_ssim(output, target, data_range=1.0)


def _torchmetrics(normalize: str | None, scales: int) -> Loss:
    from torchmetrics.functional import image

    betas = truncate_weights(msssim.WEIGHTS, scales)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        options = {"data_range": 1.0, "betas": betas, "normalize": normalize}
        value: torch.Tensor = 1 - image.multiscale_structural_similarity_index_measure(output, target, **options)
        return value

    return loss


def _kornia(scales: int) -> Loss:
    import kornia.losses

    return kornia.losses.MS_SSIMLoss(data_range=1.0)
