"""A denoiser as a Lightning module: the mix of MS-SSIM and L1 as the loss, both indices as metrics.

    python -m examples.lightning_module

Run it from the root of the repository. It needs `python -m pip install lightning torchmetrics`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import msssim

try:
    import lightning.pytorch as lightning

    from msssim.metrics import MultiScaleStructuralSimilarityIndexMeasure, StructuralSimilarityIndexMeasure
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the example needs {error.name}: python -m pip install lightning torchmetrics", name=error.name
    ) from error


class Denoiser(lightning.LightningModule):  # type: ignore[misc, unused-ignore] # lightning is not installed everywhere
    """Three convolutions that predict the noise."""

    def __init__(self, lr: float = 2e-3) -> None:
        super().__init__()
        self.lr = lr
        self.noise = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 3, 3, padding=1),
        )  # fmt: skip
        # Crops below 176 pixels do not have five scales.
        self.criterion = msssim.MSSSIML1Loss(small="fewer", data_range=1.0)
        self.ssim = StructuralSimilarityIndexMeasure(data_range=1.0)
        # For validation too the mode must be one that is never NaN, early in training.
        self.msssim = MultiScaleStructuralSimilarityIndexMeasure(normalize="covariance", small="fewer", data_range=1.0)

    def forward(self, noisy: Tensor) -> Tensor:
        clean: Tensor = noisy - self.noise(noisy)
        return clean

    def training_step(self, batch: Sequence[Tensor], index: int) -> Tensor:
        noisy, clean = batch
        loss: Tensor = self.criterion(self(noisy), clean)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Sequence[Tensor], index: int) -> None:
        noisy, clean = batch
        output = self(noisy).clamp(0, 1)
        for name, metric in (("ssim", self.ssim), ("msssim", self.msssim)):
            metric(output, clean)
            self.log(name, metric, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def pairs(count: int, side: int = 64, seed: int = 0) -> TensorDataset:
    """Smooth random images, and the same with noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    clean = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=generator)
    return TensorDataset(noisy, clean)


def train(epochs: int = 3, **trainer_options: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Train, and return the metrics before and after."""
    model = Denoiser()
    validation = DataLoader(pairs(8, seed=1), batch_size=4)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=epochs, **quiet | trainer_options)
    before = dict(trainer.validate(model, validation, verbose=False)[0])
    trainer.fit(model, DataLoader(pairs(64), batch_size=8, shuffle=True), validation)
    return before, dict(trainer.validate(model, validation, verbose=False)[0])


if __name__ == "__main__":
    for when, found in zip(("before", "after"), train(), strict=True):
        print(when, {name: round(value, 4) for name, value in found.items()})
