"""The image pairs that peers are compared on, grouped by what makes implementations differ."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import datasets
from reference import golden
from reference.peers import Emulation

from .. import library

KINDS = {
    "even": "even sides at every scale",
    "odd": "both sides odd",
    "mixed": "one side odd, or odd sides at coarser scales",
    "colour": "three channels",
    "flat": "constant images",
    "black": "black against black, an image against black, an image in a black frame",
    "anti-correlated": "an image against its negative",
    "small": "a shorter side below 176, where the original refuses MS-SSIM",
    "not 5 scales": "three scales with exponents 0.2, 0.3 and 0.5",
    "bfloat16": "pairs of kind even in bfloat16, which represents 0..255 exactly",
}
THREE_SCALES = (0.2, 0.3, 0.5)
# Images with at most this many values are also measured in float64 and by slow peers.
SMALL_SIZE = 120_000


class Case(NamedTuple):
    """An image pair, and how to compare it."""

    kind: str
    name: str
    img1: np.ndarray
    """(C, H, W) in float64."""
    img2: np.ndarray
    data_range: float
    weights: tuple[float, ...] | None = None
    bfloat16: bool = False
    """Measure in bfloat16 instead of float32."""
    matlab: dict[str, float | complex] | None = None
    """The result of the MATLAB code by metric."""

    @property
    def is_small(self) -> bool:
        """Whether the pair is also measured in float64 and by slow peers."""
        return self.img1.size <= SMALL_SIZE

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes to measure in."""
        return ("bfloat16",) if self.bfloat16 else ("float32", "float64") if self.is_small else ("float32",)

    def wang(self, metric: str, emulation: Emulation) -> float | complex:
        """Return Wang's value, from MATLAB if it is known; complex or NaN where there is no real value."""
        if self.matlab:
            return self.matlab[metric]
        return emulation.value(metric) if self.weights is None else emulation.value(metric, weights=self.weights)

    def emulation(self) -> Emulation:
        """Return an emulation of conventions on this pair."""
        return Emulation(self.img1, self.img2, self.data_range)


class LazyCase(NamedTuple):
    """A case that is made when it is called."""

    kind: str
    make: Callable[[], Case]

    def __call__(self) -> Case:
        return self.make()._replace(kind=self.kind)


def all_cases() -> list[LazyCase]:
    """Return every case, kind by kind."""
    by_kind: dict[str, list[Callable[[], Case]]] = {kind: [] for kind in KINDS}
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
        functools.partial(_three_scales, pairs, name, side)
        for name, side in (
            ("camera-512x512-boxed", None),
            ("brick-511x509-shifted", None),
            ("camera-512x512-boxed", 60),
        )
    ]
    by_kind["bfloat16"] = [functools.partial(_in_bfloat16, make) for make in by_kind["even"][-6:]]
    return [LazyCase(kind, make) for kind, makers in by_kind.items() for make in makers]


def _kind_of(name: str) -> str:
    """Return the kind of a golden pair from its name, image-HEIGHTxWIDTH-recipe."""
    _, size, recipe = name.rsplit("-", 2)
    sides = [int(side) for side in size.split("x")]
    if recipe == "negative":
        return "anti-correlated"
    if all(side % 2 for side in sides):
        return "odd"
    return "even" if all(side % 16 == 0 for side in sides) else "mixed"


def case_of(pair: datasets.Pair, **fields: Any) -> Case:
    """Return the case of a dataset's pair, without a kind."""
    img1, img2 = (library.planes(image).astype(np.float64) for image in (pair.reference, pair.distorted))
    return Case("", pair.name, img1, img2, pair.data_range, **fields)


def _golden(pairs: datasets.Pairs, index: int) -> Case:
    values = golden.values()[pairs.names[index]]
    return case_of(pairs[index], matlab={"ssim": values.ssim_index, "msssim": values.msssim_product})


def _dataset(pairs: datasets.Pairs, index: int, side: int | None = None) -> Case:
    case = case_of(pairs[index])
    return case._replace(img1=case.img1[:, :side, :side], img2=case.img2[:, :side, :side])


def _named(pairs: datasets.Pairs, name: str) -> Case:
    return case_of(pairs[pairs.names.index(name)])


def _black(pairs: datasets.Pairs, form: str) -> Case:
    case = _named(pairs, "camera-512x512-boxed")
    img1, img2 = case.img1[:, :256, :256].copy(), case.img2[:, :256, :256].copy()
    if form == "frame":
        for image in (img1, img2):
            image[:, :64] = image[:, -64:] = 0
    else:
        img2[:] = 0
        img1[:] = img1 if form == "one" else 0
    return case._replace(name=f"black-{form}", img1=img1, img2=img2)


def _small(pairs: datasets.Pairs, height: int, width: int) -> Case:
    case = _named(pairs, "chelsea-299x451-noisy")
    img1, img2 = (image[:, :height, :width] for image in (case.img1, case.img2))
    return case._replace(name=f"chelsea-{height}x{width}-noisy", img1=img1, img2=img2)


def _three_scales(pairs: datasets.Pairs, name: str, side: int | None) -> Case:
    case = _named(pairs, name)
    if side:
        name = f"{name.split('-')[0]}-{side}x{side}"
    img1, img2 = (image[:, :side, :side] for image in (case.img1, case.img2))
    return case._replace(name=name, img1=img1, img2=img2, weights=THREE_SCALES)


def _in_bfloat16(make: Callable[[], Case]) -> Case:
    return make()._replace(bfloat16=True)
