"""Maximize SSIM or MS-SSIM by gradient ascent, from noise to an image, and plot intermediate images.

    python -m examples.max_ssim --normalize covariance --target camera --out max_ssim.png

Run it from the root of the repository. With `--normalize` two values are shown: the objective, which is normalized
MS-SSIM, and MS-SSIM itself, which decides when the goal is reached. MS-SSIM is "undefined" where the mean cs of a scale
is negative.

Exit codes: 0 goal reached, 1 out of steps, 2 usage error, 3 zero gradient, 4 undefined objective (NaN).
"""

import argparse
import enum
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

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

# The images in the scikit-image package. Its other images would be downloaded on access.
SKIMAGE_IMAGES = (
    "astronaut", "brick", "camera", "cat", "cell", "checkerboard", "clock", "coffee", "coins", "colorwheel", "grass",
    "gravel", "horse", "hubble_deep_field", "immunohistochemistry", "logo", "microaneurysms", "moon", "page", "retina",
    "rocket", "shepp_logan_phantom", "text",
)  # fmt: skip
Metric = Literal["ssim", "msssim"]
Mode = Literal["relu", "simple", "covariance"] | None

MODES: dict[str, Mode] = {"none": None, "relu": "relu", "simple": "simple", "covariance": "covariance"}
FORMATS = tuple(sorted(Figure().canvas.get_supported_filetypes()))
MIN_SIZE = {"ssim": 11, "msssim": 176}  # the window size, for one scale and for five


class Outcome(enum.IntEnum):
    """How the optimization ended; the value is the exit code (argparse uses 2)."""

    GOAL_REACHED = 0
    OUT_OF_STEPS = 1
    ZERO_GRADIENT = 3
    UNDEFINED = 4


class Frame(NamedTuple):
    """The state at a step."""

    step: int
    objective: float
    score: float
    """SSIM or MS-SSIM without normalization; NaN where it is undefined."""
    image: torch.Tensor


def load_target(name: str, size: int) -> torch.Tensor:
    """Load an image file or a scikit-image image as (1, C, H, W) in [0, 1], resized to a shorter side of `size`."""
    if os.path.isfile(name):
        with Image.open(name) as file:
            image = np.asarray(file if file.mode in ("L", "RGB", "I;16") else file.convert("RGBA"))
    elif name in SKIMAGE_IMAGES:
        image = getattr(skimage.data, name)()
    else:
        raise ValueError(f"must be a file or one of {', '.join(SKIMAGE_IMAGES)}, got {name!r}")
    image = np.atleast_3d(skimage.util.img_as_float(image))
    if image.shape[-1] == 4:
        image = skimage.color.rgba2rgb(image)  # on a white background
    height, width = (round(side * size / min(image.shape[:2])) for side in image.shape[:2])
    image = skimage.transform.resize(image, (height, width), anti_aliasing=True).clip(0, 1)
    return torch.from_numpy(image).float().permute(2, 0, 1)[None].contiguous()


def make_start(kind: str, target: torch.Tensor, seed: int) -> torch.Tensor:
    """Make the initial image: uniform noise, the negative of the target, or the target with strong noise."""
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that a seed gives the same image on every device
    if kind == "noise":
        return torch.rand(target.shape, generator=generator)
    if kind == "negative":
        return 1 - target
    return (target + 0.25 * torch.randn(target.shape, generator=generator)).clamp(0, 1)


def evaluate(image: torch.Tensor, target: torch.Tensor, metric: Metric, mode: Mode) -> torch.Tensor:
    """Compute SSIM, or MS-SSIM with that normalization."""
    return msssim.ssim(image, target) if metric == "ssim" else msssim.msssim(image, target, normalize=mode)


def maximize(
    start: torch.Tensor,
    target: torch.Tensor,
    *,
    metric: Metric,
    mode: Mode = None,
    steps: int = 500,
    goal: float = 0.95,
    lr: float = 0.03,
) -> tuple[Outcome, list[Frame]]:
    """Optimize the pixels with Adam, clamped to [0, 1] after each step, until the index reaches the goal.

    `lr` is approximately the change of a pixel in one step. A schedule is not needed: at the goal the remaining errors
    are still larger. The first and the last frame are always among those returned.
    """
    image = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=lr, maximize=True)
    frames: list[Frame] = []
    with tqdm(total=steps, desc=label(metric, mode), unit="step") as bar:
        for step in range(steps + 1):
            optimizer.zero_grad()
            objective = evaluate(image, target, metric, mode)
            objective.backward()
            index = objective if mode is None else evaluate(image.detach(), target, metric, None)
            frame = Frame(step, objective.item(), index.item(), image.detach().clone())
            bar.set_postfix_str(describe(frame, metric, mode, separator=", "), refresh=step == 0)
            assert image.grad is not None
            outcome = outcome_at(frame, image.grad, mode, goal, last=step == steps)
            add_frame(frames, frame, last=outcome is not None)
            if outcome is not None:
                return outcome, frames
            optimizer.step()
            with torch.no_grad():
                image.clamp_(0, 1)
            bar.update()
    raise AssertionError("the last step always has an outcome")


def outcome_at(frame: Frame, gradient: torch.Tensor, mode: Mode, goal: float, last: bool = False) -> Outcome | None:
    """Return the outcome at a step, or None to continue."""
    if frame.score >= goal:
        return Outcome.GOAL_REACHED
    if not (math.isfinite(frame.objective) and gradient.isfinite().all()):
        return Outcome.UNDEFINED
    nonzero = gradient.flatten(2).any(-1)  # per channel, because relu can stop one channel only
    if not (nonzero.all() if mode == "relu" else nonzero.any()):
        return Outcome.ZERO_GRADIENT
    return Outcome.OUT_OF_STEPS if last else None


def add_frame(frames: list[Frame], frame: Frame, last: bool) -> None:
    """Keep the frames at steps 0, 4, 8, 16, … and the last; drop the one before the last if it is almost the same."""
    if last and len(frames) > 1 and frames[-1].step > 0.75 * frame.step:
        frames.pop()
    if last or frame.step == 0 or (frame.step >= 4 and frame.step & (frame.step - 1) == 0):
        frames.append(frame)


def label(metric: Metric, mode: Mode) -> str:
    """Return the name of the objective."""
    return "SSIM" if metric == "ssim" else f"MS-SSIM ({mode})" if mode else "MS-SSIM"


def describe(frame: Frame, metric: Metric, mode: Mode, separator: str = "\n") -> str:
    """Return the index and, if it is normalized, the objective."""
    index = "undefined" if math.isnan(frame.score) else f"{frame.score:.4f}"
    return f"{label(metric, None)} {index}" + (f"{separator}{mode} {frame.objective:.4f}" if mode else "")


def advice(outcome: Outcome, target: torch.Tensor, frame: Frame, mode: Mode, start: str) -> str:
    """Explain why the optimization cannot continue, and what to try."""
    where = "The initial image" if frame.step == 0 else f"The image at step {frame.step}"
    seed = ", or another --seed" if start != "negative" else ""
    if outcome is Outcome.ZERO_GRADIENT and mode != "relu":
        return f"{where} has zero gradient everywhere. Try another --start{seed}."
    terms = msssim.msssim(frame.image, target, scales=True)[1].amin((0, 1)).tolist()  # worst channel
    scales = "; ".join(f"{term:.4f} at scale {j}" for j, term in enumerate(terms, 1) if term < 0)
    reason = f"the mean cs of a scale is negative ({scales})" if scales else "the mean cs of a scale is negative"
    use = "Use --normalize covariance or --normalize simple, whose gradient is not zero there"
    if outcome is Outcome.ZERO_GRADIENT:
        effect = "relu sets it to 0, so that the gradient of every pixel of the channel is 0"
        return f"{where} has zero gradient: {reason}; {effect}.\n{use}{seed}."
    relu = "--normalize relu gives no NaN either, but its gradient is zero where a scale is negative"
    return f"{where} has no MS-SSIM: {reason}, and its power is not real.\n{use}{seed}; {relu}."


def plot(frames: list[Frame], target: torch.Tensor, *, metric: Metric, mode: Mode, path: str) -> None:
    """Plot the frames with their values, and the target, at most six per row."""
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


def device(name: str) -> torch.device:
    """Return the device if it can be used."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"cannot use {name!r}: {str(error).splitlines()[0]}") from error


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the options, and load the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--metric", choices=("ssim", "msssim"), default="msssim", help="index to maximize (default: msssim)")
    add("--normalize", choices=tuple(MODES), help="how MS-SSIM handles negative terms (default: covariance)")
    add("--start", choices=("noise", "negative", "distorted"), default="noise", help="initial image (default: noise)")
    add("--target", default="camera", help="image file, or name of a scikit-image image (default: camera)")
    add("--size", type=int, default=256, help="shorter side of the images in pixels (default: 256)")
    add("--goal", type=float, default=0.95, help="SSIM or MS-SSIM to stop at (default: 0.95)")
    add("--steps", type=int, default=500, help="maximum number of steps (default: 500)")
    add("--lr", type=float, default=0.03, help="Adam's learning rate (default: 0.03)")
    add("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    add("--device", type=device, default="cpu", help="torch device (default: cpu)")
    add("--out", default="max_ssim.png", help="plot of the intermediate images (default: max_ssim.png)")
    options = parser.parse_args(argv)
    if options.metric == "ssim" and options.normalize is not None:
        parser.error("--normalize cannot be used with --metric ssim, which has no powers")
    options.mode = MODES[options.normalize or ("none" if options.metric == "ssim" else "covariance")]
    if options.size < MIN_SIZE[options.metric]:
        parser.error(f"--size must be >= {MIN_SIZE[options.metric]} for {options.metric}, got {options.size}")
    if options.steps < 0:
        parser.error(f"--steps must be >= 0, got {options.steps}")
    if not 0 < options.lr < math.inf:
        parser.error(f"--lr must be positive and finite, got {options.lr}")
    if not -1 <= options.goal <= 1:
        parser.error(f"--goal must be between -1 and 1, got {options.goal}")
    folder, kind = os.path.dirname(os.path.abspath(options.out)), os.path.splitext(options.out)[1]
    if kind[1:].lower() not in FORMATS or not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        parser.error(
            f"--out must be a file in a writable folder that ends in one of {', '.join(FORMATS)}, got {options.out}"
        )
    try:
        options.target = load_target(options.target, options.size)
    except (ValueError, OSError) as error:
        parser.error(f"--target: {error}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example and return the exit code."""
    options = parse(argv)
    metric, mode = options.metric, options.mode
    start = make_start(options.start, options.target, options.seed).to(options.device)
    target = options.target.to(options.device)
    start_time = time.perf_counter()
    limits = {"steps": options.steps, "goal": options.goal, "lr": options.lr}
    outcome, frames = maximize(start, target, metric=metric, mode=mode, **limits)
    seconds, last = time.perf_counter() - start_time, frames[-1]
    plot(frames, target, metric=metric, mode=mode, path=options.out)
    values = describe(last, metric, mode, separator=", normalized by ")
    print(f"{values}, at step {last.step} after {seconds:.1f} s. Plot: {options.out}")
    if outcome is Outcome.OUT_OF_STEPS:
        print(f"The goal of {options.goal:g} was not reached. Try more --steps.", file=sys.stderr)
    elif outcome is not Outcome.GOAL_REACHED:
        print(advice(outcome, target, last, mode, options.start), file=sys.stderr)
    return int(outcome)


if __name__ == "__main__":
    sys.exit(main())
