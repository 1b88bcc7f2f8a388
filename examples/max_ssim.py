"""Climb SSIM or MS-SSIM by gradient ascent, from noise to a picture, and draw the way there.

    python -m examples.max_ssim --normalize covariance --target camera --out max_ssim.png

run from the root of the repository. Two numbers are shown where they differ: the index that is climbed, in its mode of
normalisation, and the true MS-SSIM, which decides when the goal is reached ("undefined" where the mean cs of a scale is
negative).

Exit codes: 0 goal reached, 1 steps ran out before, 2 wrong usage, 3 dead gradient, 4 index undefined (NaN).
"""

import argparse
import enum
import math
import os
import sys
import time
from typing import NamedTuple

import torch

import msssim

try:
    import numpy as np
    import skimage
    from matplotlib.figure import Figure
    from PIL import Image
    from tqdm import tqdm
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the example needs {error.name}: python -m pip install matplotlib scikit-image tqdm", name=error.name
    ) from error

# The pictures that scikit-image carries with it; its others are downloaded when asked for.
PICTURES = (
    "astronaut", "brick", "camera", "cat", "cell", "checkerboard", "clock", "coffee", "coins", "colorwheel", "grass",
    "gravel", "horse", "hubble_deep_field", "immunohistochemistry", "logo", "microaneurysms", "moon", "page", "retina",
    "rocket", "shepp_logan_phantom", "text",
)  # fmt: skip
MODES = {"none": None, "relu": "relu", "simple": "simple", "covariance": "covariance"}
FORMATS = tuple(sorted(Figure().canvas.get_supported_filetypes()))
LEAST_SIZE = {"ssim": 11, "msssim": 176}  # the window, and the window at five scales


class Outcome(enum.IntEnum):
    """How a climb ended; the value is the exit code (2 is argparse's, for wrong usage)."""

    REACHED = 0
    SPENT = 1
    DEAD = 3
    UNDEFINED = 4


class Frame(NamedTuple):
    """A stop on the way: the step, the index that is climbed, the true index (NaN if undefined), the image."""

    step: int
    climbed: float
    true: float
    image: torch.Tensor


def load_target(name, size):
    """A picture by name, or any image file, as (1, C, H, W) in [0, 1] with the shorter side of `size` pixels."""
    if os.path.isfile(name):
        with Image.open(name) as file:
            image = np.asarray(file if file.mode in ("L", "RGB", "I;16") else file.convert("RGBA"))
    elif name in PICTURES:
        image = getattr(skimage.data, name)()
    else:
        raise ValueError(f"neither a file nor one of {', '.join(PICTURES)}: {name!r}")
    image = np.atleast_3d(skimage.util.img_as_float(image))
    if image.shape[-1] == 4:
        image = skimage.color.rgba2rgb(image)  # laid on white
    height, width = (round(side * size / min(image.shape[:2])) for side in image.shape[:2])
    image = skimage.transform.resize(image, (height, width), anti_aliasing=True).clip(0, 1)
    return torch.from_numpy(image).float().permute(2, 0, 1)[None].contiguous()


def make_start(kind, target, seed):
    """Where the climb starts: uniform noise, the target's negative, or the target under heavy noise."""
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that a seed gives one start on every device
    if kind == "noise":
        return torch.rand(target.shape, generator=generator)
    if kind == "negative":
        return 1 - target
    return (target + 0.25 * torch.randn(target.shape, generator=generator)).clamp(0, 1)


def index_of(image, target, metric, mode):
    """The index that is climbed."""
    return msssim.ssim(image, target) if metric == "ssim" else msssim.msssim(image, target, normalize=mode)


def climb(start, target, *, metric, mode=None, steps=500, goal=0.95, lr=0.03):
    """Adam on the pixels, cut off at [0, 1] after each step, until the true index reaches the goal.

    `lr` is about how far a pixel moves in one step. It needs no schedule: at the goal, the differences that count are
    still larger than that. Returned are the Outcome and a list of Frames, the first and the last among them.
    """
    image = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=lr, maximize=True)
    frames = []
    with tqdm(total=steps, desc=label(metric, mode), unit="step") as bar:
        for step in range(steps + 1):
            optimizer.zero_grad()
            index = index_of(image, target, metric, mode)
            index.backward()
            true = index if mode is None else index_of(image.detach(), target, metric, None)
            frame = Frame(step, index.item(), true.item(), image.detach().clone())
            bar.set_postfix_str(describe(frame, metric, mode, separator=", "), refresh=step == 0)
            outcome = judge(frame, image.grad, mode, goal, last=step == steps)
            keep(frames, frame, last=outcome is not None)
            if outcome is not None:
                break
            optimizer.step()
            with torch.no_grad():
                image.clamp_(0, 1)
            bar.update()
    return outcome, frames


def judge(frame, gradient, mode, goal, last=False):
    """How the climb ends here, or None if it goes on."""
    if frame.true >= goal:
        return Outcome.REACHED
    if not (math.isfinite(frame.climbed) and gradient.isfinite().all()):
        return Outcome.UNDEFINED
    live = gradient.flatten(2).any(-1)  # of each channel: relu can stop one while the others climb
    if not (live.all() if mode == "relu" else live.any()):
        return Outcome.DEAD
    return Outcome.SPENT if last else None


def keep(frames, frame, last):
    """Keep the stops at step 0, 4, 8, 16, … and the last; the one before it goes if it is hardly another."""
    if last and len(frames) > 1 and frames[-1].step > 0.75 * frame.step:
        frames.pop()
    if last or frame.step == 0 or (frame.step >= 4 and frame.step & (frame.step - 1) == 0):
        frames.append(frame)


def label(metric, mode):
    """The name of the index that is climbed."""
    return "SSIM" if metric == "ssim" else f"MS-SSIM ({mode})" if mode else "MS-SSIM"


def describe(frame, metric, mode, separator="\n"):
    """The true index and, where it is another number, the one that is climbed."""
    true = "undefined" if math.isnan(frame.true) else f"{frame.true:.4f}"
    return f"{label(metric, None)} {true}" + (f"{separator}{mode} {frame.climbed:.4f}" if mode else "")


def advice(outcome, target, frame, mode, start):
    """What to say of a climb that could not go on."""
    where = "The start" if frame.step == 0 else f"Step {frame.step}"
    seed = ", or another --seed" if start != "negative" else ""
    if outcome is Outcome.DEAD and mode != "relu":
        return f"{where} has a gradient of zero everywhere, so no step leads on. Try another --start{seed}."
    terms = msssim.msssim(frame.image, target, scales=True)[1].amin((0, 1)).tolist()  # of the worst channel
    scales = "; ".join(f"{term:.4f} at scale {j}" for j, term in enumerate(terms, 1) if term < 0)
    reason = f"the mean cs of a scale is negative ({scales})" if scales else "the mean cs of a scale is negative"
    use = "Use --normalize covariance or --normalize simple, which keep a gradient there"
    if outcome is Outcome.DEAD:
        effect = "relu makes that 0, and with it the gradient of every pixel of the channel, so no step leads on"
        return f"{where} has a dead gradient: {reason}; {effect}.\n{use}{seed}."
    relu = "--normalize relu gives no NaN either, but no gradient where a scale is negative"
    return f"{where} has no MS-SSIM: {reason}, and its power is no real number.\n{use}{seed}; {relu}."


def draw(frames, target, *, metric, mode, path):
    """The way there as a picture: the stops with their numbers, and the target; in one row up to six."""
    texts = [f"step {frame.step}\n{describe(frame, metric, mode)}" for frame in frames]
    shown = [*zip(texts, (frame.image for frame in frames), strict=True), ("target", target)]
    rows = -(-len(shown) // 6)
    columns = -(-len(shown) // rows)
    height, width = target.shape[-2:]
    figure = Figure(figsize=(2 * columns, (2 * height / width + 0.7) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (text, image) in zip(panels, shown, strict=False):
        pixels = image[0].permute(1, 2, 0).cpu().numpy()
        axes.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(text, linespacing=1.3)
        axes.spines[:].set_visible(False)
    for axes in panels[len(shown) :]:
        axes.remove()
    figure.savefig(path, dpi=120, bbox_inches="tight", pad_inches=0.1)


def device(name):
    """The device of that name, if it can be used."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"cannot use {name!r}: {str(error).splitlines()[0]}") from error


def parse(argv):
    """The options, checked against each other, and the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--metric", choices=("ssim", "msssim"), default="msssim", help="what to climb (default: msssim)")
    add("--normalize", choices=tuple(MODES), help="what msssim does about negative terms (default: covariance)")
    add("--start", choices=("noise", "negative", "distorted"), default="noise", help="where from (default: noise)")
    add("--target", default="camera", help="where to: an image file, or a scikit-image picture (default: camera)")
    add("--size", type=int, default=256, help="shorter side of the images in pixels (default: 256)")
    add("--goal", type=float, default=0.95, help="true index to stop at (default: 0.95)")
    add("--steps", type=int, default=500, help="most steps (default: 500)")
    add("--lr", type=float, default=0.03, help="Adam's learning rate (default: 0.03)")
    add("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    add("--device", type=device, default="cpu", help="for example cuda (default: cpu)")
    add("--out", default="max_ssim.png", help="the picture of the way there (default: max_ssim.png)")
    options = parser.parse_args(argv)
    if options.metric == "ssim" and options.normalize is not None:
        parser.error("--normalize: an option of msssim; ssim has no powers and needs none")
    options.mode = MODES[options.normalize or ("none" if options.metric == "ssim" else "covariance")]
    if options.size < LEAST_SIZE[options.metric]:
        parser.error(f"--size: at least {LEAST_SIZE[options.metric]} is wanted for {options.metric}")
    if options.steps < 0 or not 0 < options.lr < math.inf or not -1 <= options.goal <= 1:
        parser.error(
            "--steps, --lr, --goal: a number of steps from 0 on, a positive learning rate and an index are wanted"
        )
    folder, kind = os.path.dirname(os.path.abspath(options.out)), os.path.splitext(options.out)[1]
    if kind[1:].lower() not in FORMATS or not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        parser.error(
            f"--out: a file that ends in one of {', '.join(FORMATS)}, in a folder that can be written to, is wanted, "
            f"{options.out} came"
        )
    try:
        options.target = load_target(options.target, options.size)
    except (ValueError, OSError) as error:
        parser.error(f"--target: {error}")
    return options


def main(argv=None):
    """Climb, draw, say how it ended; the exit code."""
    options = parse(argv)
    metric, mode = options.metric, options.mode
    start = make_start(options.start, options.target, options.seed).to(options.device)
    target = options.target.to(options.device)
    began = time.perf_counter()
    limits = {"steps": options.steps, "goal": options.goal, "lr": options.lr}
    outcome, frames = climb(start, target, metric=metric, mode=mode, **limits)
    seconds, last = time.perf_counter() - began, frames[-1]
    draw(frames, target, metric=metric, mode=mode, path=options.out)
    numbers = describe(last, metric, mode, separator=", climbed as ")
    print(f"{numbers}, at step {last.step} after {seconds:.1f} s. The way there: {options.out}")
    if outcome is Outcome.SPENT:
        print(f"The goal of {options.goal:g} was not reached; more --steps may.", file=sys.stderr)
    elif outcome is not Outcome.REACHED:
        print(advice(outcome, target, last, mode, options.start), file=sys.stderr)
    return int(outcome)


if __name__ == "__main__":
    sys.exit(main())
