"""Three small networks, and the images that they are trained on."""

import functools
import threading
from collections.abc import Callable

import torch
from torch import nn

import datasets

# Photographs of the scikit-image wheel, by the golden pairs that have them.
_PHOTOGRAPHS = (
    "camera-512x512",
    "moon-512x512",
    "coins-303x384",
    "coffee-400x600",
    "chelsea-299x451",
    "rocket-427x640",
)
_NOISE = 0.1
_CODE = 8  # channels of the input of the generator, at 1/16 of the side
BATCH = 2


class _Generator(nn.Module):
    """An image from a code, as a deep image prior or a GAN has it; in 0..1 by tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(_CODE, 16, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=4),
            nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.PixelShuffle(4),
        )  # fmt: skip

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = (torch.tanh(self.body(code)) + 1) / 2
        return image


def _denoiser() -> nn.Module:
    """Convolutions at half the resolution, without a bound of the output."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 4, 3, padding=1), nn.PixelShuffle(2),
    )  # fmt: skip


def _autoencoder() -> nn.Module:
    """Encoder and decoder, whose output is in 0..1 by a sigmoid."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Sigmoid(),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "denoiser": _denoiser, "autoencoder": _autoencoder, "generator": _Generator,
}  # fmt: skip
_shared_generator = threading.Lock()


def make(name: str, seed: int) -> nn.Module:
    """Return a network: with an even seed initialized as PyTorch does by default, with an odd one by He et al.

    The second (https://doi.org/10.1109/ICCV.2015.123) has weights larger by 6 ** 0.5 on average, and biases of zero.
    """
    with _shared_generator, torch.random.fork_rng(devices=[]):  # of all threads
        torch.manual_seed(seed)
        network = NETWORKS[name]()
        for layer in network.modules() if seed % 2 else ():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        return network


def batch(name: str, crop: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (input, target) of one step of a network; the target is (BATCH, 1, crop, crop) in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.stack([_crop(crop, generator) for _ in range(BATCH)])
    if name == "generator":
        return torch.randn(BATCH, _CODE, crop // 16, crop // 16, generator=generator), target
    noise = _NOISE if name == "denoiser" else 0.0
    return target + noise * torch.randn(target.shape, generator=generator), target


def _crop(side: int, generator: torch.Generator) -> torch.Tensor:
    image = photographs()[int(torch.randint(len(photographs()), (), generator=generator))]
    top, left = (int(torch.randint(length - side + 1, (), generator=generator)) for length in image.shape[1:])
    return image[:, top : top + side, left : left + side]


@functools.cache
def photographs() -> tuple[torch.Tensor, ...]:
    """Return the photographs, (1, H, W) in 0..1."""
    pairs = datasets.load("golden")
    chosen = [next(i for i, name in enumerate(pairs.names) if name.startswith(photo)) for photo in _PHOTOGRAPHS]
    return tuple(torch.from_numpy(pairs[i].reference).float()[None] / 255 for i in chosen)
