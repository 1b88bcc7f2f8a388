"""Compile the kernels of the Triton backend for GPUs, without one; print their registers and instructions.

python -m tests.ahead_of_time                        every case, in an hour: benchmarks/results/ahead-of-time.txt
python -m tests.ahead_of_time "float32 window 11"    cases whose description matches

Each case is a call of the backend as on a GPU, but nothing is launched. A large image has a launch for the finest
scale; a small image has one launch for all scales. For sweep(), which does nearly all of the work, the loop over the
rows is counted: the instructions of a thread per pixel, how many of them are floating-point arithmetic, and how many
spill registers to memory. Instructions of every second iteration count a half. Those of the last
scale alone, some 30 more, do not count.
"""

import argparse
import contextlib
import io
import os
import pathlib
import re
import subprocess
import tempfile

os.environ.pop("TRITON_INTERPRET", None)  # Triton reads it when it is imported
os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp(prefix="triton-")  # cached kernels are not compiled again

import torch
import triton

from msssim import multiscale, window
from msssim.backends.triton import api, launches
from msssim.backends.triton.constants import Constants
from validation.emulated_gpu import driver

CAPABILITIES = (80, 90)
NEEDS = {"no gradient": (False, False), "one gradient": (True, False), "two gradients": (True, True)}
CASES = [
    *((torch.float32, 11, needs, 128, "large") for needs in NEEDS),
    *((torch.float32, 11, needs, 128, "small") for needs in NEEDS),
    (torch.float32, 11, "one gradient", 256, "large"),
    *((dtype, 11, "one gradient", 128, "large") for dtype in (torch.bfloat16, torch.float16, torch.float64)),
    (torch.float64, 11, "one gradient", 128, "small"),
    (torch.uint8, 11, "no gradient", 128, "large"),
    (torch.float32, 7, "one gradient", 128, "large"),
    (torch.float32, 31, "one gradient", 128, "large"),
]
ARITHMETIC = ("FFMA", "FADD", "FMUL", "DFMA", "DADD", "DMUL")


def compiled(call):
    """Return [kernel, registers, bytes spilled, of the loop...] for each kernel that a call compiles."""
    rows, launch = [], triton.runtime.JITFunction.run

    def compile_only(self, *arguments, **options):
        log = io.StringIO()
        with contextlib.redirect_stdout(log):
            kernel = launch(self, *arguments, **{**options, "warmup": True})
        if "registers" in log.getvalue():  # else it has been compiled before
            spilled = sum(map(int, re.findall(r"(\d+) bytes spill", log.getvalue())))
            registers = int(re.search(r"Used (\d+) registers", log.getvalue())[1])
            # One iteration of the loop is two rows.
            pixels = 2 * options["COLUMNS"] if self.__name__ == "sweep" else None
            loop = [f"{count / pixels:.1f}" for count in _loop(kernel)] if pixels else ["-"] * 3
            rows.append([self.__name__, registers, spilled, *loop])

    triton.knobs.nvidia.dump_ptxas_log = True
    triton.runtime.JITFunction.run = compile_only
    try:
        call()
    finally:
        triton.runtime.JITFunction.run = launch
    return rows


def _loop(kernel):
    """Count the instructions of the loop over the rows: all, floating-point arithmetic, and spilling."""
    instructions, jumps = _disassembled(kernel)
    first, end = min(
        (
            (target, at + 1)
            for at, target in jumps.items()
            if instructions[target : at + 1].count("BAR") == 2 and _arithmetic(instructions[target:at]) > 100
        ),
        key=lambda loop: loop[1] - loop[0],
    )
    weights = [1.0] * len(instructions)
    for at, target in jumps.items():
        # Skipped blocks that touch no memory: changes of the bases, before the first barrier, and luminance, after it.
        if first <= at < target <= end and not {"LDG", "STG", "BAR"} & set(instructions[at + 1 : target]):
            weight = 0.5 if "BAR" not in instructions[first:at] else 0.0
            weights[at + 1 : target] = [weight] * (target - at - 1)
    counted = list(zip(instructions[first:end], weights[first:end], strict=True))
    spilling = ("LDL", "STL")
    return [
        sum(weight for name, weight in counted if kind is None or name in kind) for kind in (None, ARITHMETIC, spilling)
    ]


def _disassembled(kernel):
    """Return the names of all instructions, and for jumps by index their targets."""
    tools = pathlib.Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        text = subprocess.run([tools / "nvdisasm", "-c", file.name], capture_output=True, text=True, check=True).stdout
    instructions, labels, jumps = [], {}, {}
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L_\w+):", line):
            labels[label[1]] = len(instructions)
        elif instruction := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@\S+\s+)?(\w+)(.*);", line):
            target = re.search(r"`\((\.L_\w+)\)", instruction[2])
            if instruction[1] == "BRA" and target:
                jumps[len(instructions)] = target[1]
            instructions.append(instruction[1])
    return instructions, {at: labels[name] for at, name in jumps.items()}


def _arithmetic(instructions):
    return sum(map(instructions.count, ARITHMETIC))


def example(dtype, win_size, needs, threads, size):
    """Call the backend on black images: three scales, so that every kernel is launched."""
    x = torch.zeros(1, 1, 4 * win_size, 4 * win_size, dtype=dtype)
    options = (window.gaussian_taps(win_size, 1.5), *window.constants(0.01, 0.03, 1.0), 1.0, 3, False)
    with launches.using(Constants(threads=(threads,), small_pixels=0 if size == "large" else 1 << 62)):
        terms, *kept = api.means_and_gradients(x, x, *options, *NEEDS[needs])
    pooling = multiscale.Pooling((0.5, 0.25, 0.25), "simple", "product", True, torch.float32)
    value, dvalue_dterms = api.pool(terms, pooling, needs != "no gradient")
    for gradient in kept:
        if gradient.numel():
            api.gradient(value, dvalue_dterms, gradient, *x.shape[-2:], 3, win_size - 1, 1.0, dtype)


def main():
    """Print one line for each kernel, case and GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="regular expression (default: every case)")
    arguments = parser.parse_args()
    named = {_name(*case): case for case in CASES}
    chosen = {name: case for name, case in named.items() if re.search(arguments.pattern, name)}
    if not chosen:
        parser.error(f"pattern must match one of {', '.join(named)}, got {arguments.pattern!r}")
    line = "{:6} {:53} {:16} {:>9} {:>13} {:>20} {:>10} {:>8}"
    columns = ("registers", "bytes spilled", "instructions a pixel", "arithmetic", "spilling")
    print(f"As compiled by Triton {triton.__version__}:")
    print(line.format("GPU", "case", "kernel", *columns))
    for capability in CAPABILITIES:
        with driver.compiling_for(capability):
            for name, case in chosen.items():
                driver.clear_caches()
                for row in compiled(lambda case=case: example(*case)):
                    print(line.format(f"sm_{capability}", name, *row), flush=True)


def _name(dtype, win_size, needs, threads, size):
    return f"{dtype} window {win_size} {needs} {threads} threads {size}".removeprefix("torch.")


if __name__ == "__main__":
    main()
