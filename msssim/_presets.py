"""The options with which ssim() gives the numbers of other tools."""

from collections.abc import Iterator, Mapping
from typing import TypedDict

from ._types import Downsample, Padding, Window


class Preset(TypedDict, total=False):
    """Options of ssim() and SSIM. The data_range is that of the images, and never part of a preset."""

    win_size: int
    sigma: float
    window: Window
    sample_covariance: bool
    padding: Padding
    downsample: Downsample


_GAUSSIAN = Preset(win_size=11, sigma=1.5)
_UNIFORM_7 = Preset(win_size=7, window="uniform", sample_covariance=True)
_OPTIONS: dict[str, Preset] = {
    "scikit-image": _UNIFORM_7,
    "fastmri": _UNIFORM_7,
    "matlab": Preset(win_size=11, sigma=1.5, padding="replicate"),
    "monodepth2": Preset(win_size=3, window="uniform", padding="reflect"),
    "3dgs": Preset(win_size=11, sigma=1.5, padding="zeros"),
    "fused-ssim": Preset(win_size=11, sigma=1.5, padding="zeros"),
    "kornia": Preset(win_size=11, sigma=1.5, padding="reflect"),
    "torchmetrics": Preset(win_size=11, sigma=1.5, padding="reflect"),
    "tensorflow": _GAUSSIAN,
    "pytorch-msssim": _GAUSSIAN,
    "piq": Preset(win_size=11, sigma=1.5, downsample="auto"),
}


class Presets(Mapping[str, Preset]):
    """From the name of a tool to the options of :func:`msssim.ssim` that give its number with its default settings.

    docs/switching.md says what still differs. "matlab" is ssim() of the Image Processing Toolbox for gray images.

    Examples
    --------
    >>> import torch, msssim
    >>> x, y = torch.rand(2, 1, 1, 320, 320)
    >>> msssim.presets["fastmri"]
    {'win_size': 7, 'window': 'uniform', 'sample_covariance': True}
    >>> value = msssim.ssim(x, y, data_range=y.max(), **msssim.presets["fastmri"])
    """

    def __getitem__(self, name: str) -> Preset:
        if name not in _OPTIONS:
            raise KeyError(f"preset must be one of {', '.join(map(repr, _OPTIONS))}, got {name!r}")
        return Preset(**_OPTIONS[name])  # a copy, which the caller may change

    def __iter__(self) -> Iterator[str]:
        return iter(_OPTIONS)

    def __len__(self) -> int:
        return len(_OPTIONS)

    def __repr__(self) -> str:
        return f"presets of {', '.join(self)}"


presets = Presets()
