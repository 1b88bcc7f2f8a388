"""The image pairs that peers are compared on, by what tends to set implementations apart."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import datasets
from reference import golden
from reference.peers import Emulation

KINDS = {
    "even": "sides even at every halving",
    "odd": "both sides odd",
    "mixed": "one side odd, or odd after some halvings",
    "colour": "three channels",
    "flat": "one value everywhere",
    "black": "black against black, a picture against black, a picture in a black frame",
    "anti-correlated": "a picture against its negative",
    "small": "a shorter side below 176, where the original refuses MS-SSIM",
    "not 5 scales": "three scales, of exponents 0.2, 0.3 and 0.5",
    "bfloat16": "the even ones as bfloat16, which holds 0..255 exactly",
}
THREE_SCALES = (0.2, 0.3, 0.5)
# Numbers in an image up to which float64 is measured too, and what takes seconds.
FEW = 120_000


class Case(NamedTuple):
    """A pair, and how it is to be compared."""

    kind: str
    name: str
    img1: np.ndarray
    """(C, H, W) in float64."""
    img2: np.ndarray
    data_range: float
    weights: tuple | None = None
    narrow: bool = False
    """bfloat16 in place of float32."""
    matlab: dict | None = None
    """What the MATLAB code returned, by metric."""

    @property
    def small(self):
        """Whether to measure float64 too, and what takes seconds."""
        return self.img1.size <= FEW

    @property
    def dtypes(self):
        """What the images are given as."""
        return ("bfloat16",) if self.narrow else ("float32", "float64") if self.small else ("float32",)

    def wang(self, metric, emulation):
        """Wang's number: MATLAB's where there is one; complex or NaN where there is no real one."""
        if self.matlab:
            return self.matlab[metric]
        return emulation.value(metric) if self.weights is None else emulation.value(metric, weights=self.weights)

    def emulation(self):
        """The pair under any convention."""
        return Emulation(self.img1, self.img2, self.data_range)


class Maker(NamedTuple):
    """A case that is made when its turn comes."""

    kind: str
    make: Callable

    def __call__(self):
        return self.make()._replace(kind=self.kind)


def makers():
    """A Maker of every case, kind after kind."""
    by_kind = {kind: [] for kind in KINDS}
    pairs = datasets.load("golden")
    for index, name in enumerate(pairs.names):
        by_kind[_kind_of(name)].append(functools.partial(_golden, pairs, index))
    colour = datasets.load("colour")
    by_kind["colour"] = [functools.partial(_dataset, colour, index, 199) for index in range(0, len(colour), 11)]
    synthetic = datasets.load("synthetic")
    flat = [index for index, name in enumerate(synthetic.names) if name.startswith("flat") and "black" not in name]
    by_kind["flat"] = [functools.partial(_dataset, synthetic, index) for index in flat]
    by_kind["black"] = [functools.partial(_black, pairs, form) for form in ("both", "one", "frame")]
    by_kind["small"] = [functools.partial(_small, pairs, *shape) for shape in ((165, 170), (100, 120))]
    by_kind["not 5 scales"] = [
        functools.partial(_three_scales, pairs, *one)
        for one in (("camera-512x512-boxed", None), ("brick-511x509-shifted", None), ("camera-512x512-boxed", 60))
    ]
    by_kind["bfloat16"] = [functools.partial(_in_bfloat16, make) for make in by_kind["even"][-6:]]
    return [Maker(kind, make) for kind, made in by_kind.items() for make in made]


def _kind_of(name):
    """The kind of a golden pair, of which the name says it: image-HEIGHTxWIDTH-recipe."""
    _, size, recipe = name.rsplit("-", 2)
    sides = [int(side) for side in size.split("x")]
    if recipe == "negative":
        return "anti-correlated"
    if all(side % 2 for side in sides):
        return "odd"
    return "even" if all(side % 16 == 0 for side in sides) else "mixed"


def case_of(pair, **more):
    """The Case of a pair of a dataset, without a kind."""
    planes = [
        (np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]).astype(np.float64)
        for image in (pair.reference, pair.distorted)
    ]
    return Case("", pair.name, *planes, pair.data_range, **more)


def _golden(pairs, index):
    figures = golden.values()[pairs.names[index]]
    return case_of(pairs[index], matlab={"ssim": figures.ssim_index, "msssim": figures.msssim_product})


def _dataset(pairs, index, side=None):
    case = case_of(pairs[index])
    return case._replace(img1=case.img1[:, :side, :side], img2=case.img2[:, :side, :side])


def _named(pairs, name):
    return case_of(pairs[pairs.names.index(name)])


def _black(pairs, form):
    case = _named(pairs, "camera-512x512-boxed")
    img1, img2 = case.img1[:, :256, :256].copy(), case.img2[:, :256, :256].copy()
    if form == "frame":
        for image in (img1, img2):
            image[:, :64] = image[:, -64:] = 0
    else:
        img2[:] = 0
        img1[:] = img1 if form == "one" else 0
    return case._replace(name=f"black-{form}", img1=img1, img2=img2)


def _small(pairs, height, width):
    case = _named(pairs, "chelsea-299x451-noisy")
    img1, img2 = (image[:, :height, :width] for image in (case.img1, case.img2))
    return case._replace(name=f"chelsea-{height}x{width}-noisy", img1=img1, img2=img2)


def _three_scales(pairs, name, side):
    case = _named(pairs, name)
    if side:
        name = f"{name.split('-')[0]}-{side}x{side}"
    img1, img2 = (image[:, :side, :side] for image in (case.img1, case.img2))
    return case._replace(name=name, img1=img1, img2=img2, weights=THREE_SCALES)


def _in_bfloat16(make):
    return make()._replace(narrow=True)
