"""The formula of jorge-pessoa's pytorch-msssim, which many published figures come from, including its mistakes.

Written from what the package computes, not from its code: see ``PEERS["pytorch-msssim (original)"].description``. It is
not on PyPI, where another package has that name.
"""

import torch
import torch.nn.functional as F

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim(img1: torch.Tensor, img2: torch.Tensor, *, data_range: float | None = None) -> torch.Tensor:
    """Return the mean over batch, channels and pixels."""
    return _means(img1, img2, data_range)[0]


def msssim(img1: torch.Tensor, img2: torch.Tensor, *, data_range: float | None = None) -> torch.Tensor:
    """Return Π over the first four scales of (cs_j^w_j · ssim_5^w_5), in which the last scale counts four times."""
    cs = []
    for _ in WEIGHTS:
        ssim_mean, cs_mean = _means(img1, img2, data_range)
        cs.append(cs_mean)
        img1, img2 = F.avg_pool2d(img1, 2), F.avg_pool2d(img2, 2)
    last = ssim_mean ** WEIGHTS[-1]
    return torch.stack([mean**weight * last for mean, weight in zip(cs[:-1], WEIGHTS[:-1], strict=True)]).prod()


def guess_range(image: torch.Tensor) -> float:
    """Return 255 or 1 depending on the maximum, plus 1 for images with values below -0.5."""
    return (255 if image.max() > 128 else 1) + (1 if image.min() < -0.5 else 0)


def _means(x: torch.Tensor, y: torch.Tensor, data_range: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean l·cs and mean cs; the window shrinks to the size of smaller images."""
    data_range = guess_range(x) if data_range is None else data_range
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    size, channels = min(11, *x.shape[-2:]), x.shape[1]
    position = torch.arange(size, dtype=torch.float64) - size // 2
    taps = torch.exp(-(position**2) / 4.5)
    taps = (taps / taps.sum()).to(x)
    window = torch.outer(taps, taps).expand(channels, 1, size, size)
    mu_x, mu_y, xx, yy, xy = (F.conv2d(image, window, groups=channels) for image in (x, y, x * x, y * y, x * y))
    cs = (2 * (xy - mu_x * mu_y) + c2) / (xx - mu_x**2 + yy - mu_y**2 + c2)
    luminance = (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)
    return (luminance * cs).mean(), cs.mean()
