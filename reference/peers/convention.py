"""What an implementation can decide otherwise than Wang did, each by a name, so that its number can be emulated."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Convention:
    """One decision a field; the default of each is Wang's. `CAUSES` has the words for every other value."""

    window: str = "gaussian"
    covariance: str = "population"
    border: str = "valid"
    """Which windows count in the mean of l·cs: those inside the image, or all, with the image continued somehow."""
    cs_border: str = "valid"
    """The same in the mean of cs."""
    halving: str = "mean of what is there"
    """What becomes of an odd side between scales."""
    rectified: str = "nothing"
    data_range: str = "given"
    reduced: bool = False
    channels: str = "one by one"
    last_scale: str = "once"
    scales: str = "pyramid"

    def differences(self):
        """The fields whose value is not Wang's, as {name: value}."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    def without(self, name):
        """The same with Wang's decision on one field."""
        return dataclasses.replace(self, **{name: getattr(WANG, name)})


WANG = Convention()

CAUSES = {
    ("window", "uniform"): "7 x 7 equal weights",
    ("covariance", "sample"): "sample covariance",
    ("border", "reflected"): "reflected borders counted",
    ("border", "zeros"): "zeros around the image counted",
    ("halving", "dropped"): "odd rows dropped",
    ("halving", "zeros before"): "zero padding of odd sides",
    ("halving", "copies before"): "both sides padded before the first pixel when one is odd",
    ("rectified", "means"): "ReLU on each mean",
    ("rectified", "pixels"): "ReLU on cs at every pixel",
    ("data_range", "spread"): "range guessed as max - min at every scale",
    ("data_range", "255 or 1"): "range guessed as 255 or 1 at every scale",
    ("reduced", True): "reduced to about 256 pixels first",
    ("channels", "averaged"): "channels averaged before the powers",
    ("last_scale", "four times"): "last scale multiplied in four times",
    ("scales", "windows"): "another quantity: five windows, no pyramid",
}
