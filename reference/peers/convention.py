"""The decisions in which implementations differ from Wang, named so that `Emulation` can compute their effect."""

import dataclasses
from typing import Any, Literal

Border = Literal["valid", "reflected", "zeros"]
Downsampling = Literal["mean of existing pixels", "last dropped", "zeros before", "copies before"]


@dataclasses.dataclass(frozen=True)
class Convention:
    """One decision per field; each default is Wang's. `CAUSES` describes every other value."""

    window: Literal["gaussian", "uniform"] = "gaussian"
    covariance: Literal["population", "sample"] = "population"
    border: Border = "valid"
    """Padding for the mean of l·cs: none ('valid' windows), reflection or zeros ('same' size)."""
    cs_border: Border = "valid"
    """Padding for the mean of cs."""
    downsampling: Downsampling = "mean of existing pixels"
    """How 2 x 2 blocks are averaged between scales when a side is odd."""
    relu: Literal["none", "means", "pixels"] = "none"
    """Where negative values are set to 0: nowhere, in the mean of each scale, or in cs at every pixel."""
    data_range: Literal["given", "max - min", "255 or 1"] = "given"
    """Whether the data range is an argument or guessed from the images at every scale."""
    downsample_first: bool = False
    """Whether the images are first averaged down to about 256 pixels."""
    channels: Literal["separate", "averaged"] = "separate"
    """Whether channels are averaged before the powers of MS-SSIM."""
    last_scale: Literal["once", "four times"] = "once"
    """How often the last scale is multiplied into the product."""
    scales: Literal["pyramid", "windows"] = "pyramid"
    """Wang's pyramid, or five windows of different size on the full image (Zhao et al.)."""

    def differences(self) -> dict[str, Any]:
        """Return the fields that differ from Wang's decisions, as {name: value}."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    def without(self, name: str) -> "Convention":
        """Return the same convention with Wang's decision for one field."""
        return dataclasses.replace(self, **{name: getattr(WANG, name)})


WANG = Convention()

CAUSES = {
    ("window", "uniform"): "uniform 7 x 7 window",
    ("covariance", "sample"): "sample covariance",
    ("border", "reflected"): "windows over reflected borders counted",
    ("border", "zeros"): "windows over zero padding counted",
    ("downsampling", "last dropped"): "last row or column of odd sides dropped",
    ("downsampling", "zeros before"): "odd sides padded with zeros before the first pixel",
    ("downsampling", "copies before"): "both sides padded before the first pixel if one is odd",
    ("relu", "means"): "ReLU on each mean",
    ("relu", "pixels"): "ReLU on cs at every pixel",
    ("data_range", "max - min"): "data range guessed as max - min at every scale",
    ("data_range", "255 or 1"): "data range guessed as 255 or 1 at every scale",
    ("downsample_first", True): "downsampled to about 256 pixels first",
    ("channels", "averaged"): "channels averaged before the powers",
    ("last_scale", "four times"): "last scale multiplied in four times",
    ("scales", "windows"): "another quantity: five windows, no pyramid",
}
