"""The loss of 3D Gaussian splatting, 0.8 · L1 + 0.2 · (1 - SSIM), fits two-dimensional Gaussians to an image.

    python -m examples.gaussian_splatting_loss --steps 200 --out splats.png

Run it from the root of the repository. SSIM surrounds the images with zeros, as the loss of Kerbl et al. (2023,
https://doi.org/10.1145/3592433) does; elsewhere `msssim.ssim(output, target)` without padding is the better choice. It
needs scikit-image, and Matplotlib for the picture.
"""

import argparse
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from msssim.compat.fused_ssim import fused_ssim


def splatting_loss(output: Tensor, target: Tensor, weight: float = 0.2) -> Tensor:
    """(1 - weight) · L1 + weight · (1 - SSIM), of images (N, C, H, W) in 0..1."""
    return (1 - weight) * (output - target).abs().mean() + weight * (1 - fused_ssim(output, target))


class Splats(torch.nn.Module):
    """Isotropic Gaussians in the plane, blended by their weighted mean."""

    def __init__(self, count: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.centres = torch.nn.Parameter(torch.rand(count, 2, generator=generator))
        self.log_sizes = torch.nn.Parameter(torch.full((count,), math.log(0.7 / math.sqrt(count))))
        self.colours = torch.nn.Parameter(torch.rand(count, 3, generator=generator))

    def forward(self, side: int) -> Tensor:
        """Render an image (1, 3, side, side)."""
        axis = (torch.arange(side) + 0.5) / side
        scaled = (axis[:, None] - self.centres.T[:, None, :]) / self.log_sizes.exp()  # (2, side, count)
        rows, columns = torch.exp(-0.5 * scaled.square()).unbind(0)
        weights = rows[:, None] * columns[None] + 1e-8
        image = (weights @ self.colours) / weights.sum(-1, keepdim=True)
        return image.permute(2, 0, 1)[None]


def load_target(side: int) -> Tensor:
    """Return the photograph of an astronaut, (1, 3, side, side) in 0..1."""
    from skimage import data, transform

    image = transform.resize(data.astronaut(), (side, side), anti_aliasing=True)
    return torch.from_numpy(image).float().permute(2, 0, 1)[None]


def fit(target: Tensor, count: int, steps: int, lr: float = 0.02) -> tuple[Splats, list[float]]:
    """Fit the Gaussians by Adam; return them and the loss of every step."""
    splats = Splats(count)
    optimizer = torch.optim.Adam(splats.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = splatting_loss(splats(target.shape[-1]), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return splats, losses


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print the loss, and write the picture."""
    parser = argparse.ArgumentParser(description="fit Gaussians to an image by the loss of 3D Gaussian splatting")
    parser.add_argument("--count", type=int, default=400, help="number of Gaussians")
    parser.add_argument("--side", type=int, default=96, help="pixels of a side of the image")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", help="write target and result to this PNG file")
    options = parser.parse_args(arguments)
    target = load_target(options.side)
    splats, losses = fit(target, options.count, options.steps)
    print(f"loss {losses[0]:.4f} at the first step, {losses[-1]:.4f} at the last")
    if options.out:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3), layout="constrained")
        rendered = splats(options.side).detach().clamp(0, 1)
        for axes, image, title in zip(figure.subplots(1, 2), (target, rendered), ("target", "result"), strict=True):
            axes.imshow(image[0].permute(1, 2, 0).numpy())
            axes.set_title(title)
            axes.set_axis_off()
        figure.savefig(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
