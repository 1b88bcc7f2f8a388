"""Compile the kernels of the Triton backend for GPUs that need not be here; print their registers and what they spill.

python tests/ahead_of_time.py                        every case, in a minute or two
python tests/ahead_of_time.py "float32 window 11"    those whose description matches

Each case is a call of the backend as it is on a GPU, except that nothing is launched.
"""

import argparse
import contextlib
import io
import os
import re
import tempfile

os.environ.pop("TRITON_INTERPRET", None)  # Triton reads it when it is imported
os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp(prefix="triton-")  # what is found there is not compiled again

import torch
import triton
from triton.backends.compiler import GPUTarget

from msssim import window
from msssim.backends import triton_backend

CAPABILITIES = (80, 90)
NEEDS = {"no gradient": (False, False), "one gradient": (True, False), "two gradients": (True, True)}
CASES = [
    *((torch.float32, 11, needs) for needs in NEEDS),
    *((dtype, 11, "one gradient") for dtype in (torch.bfloat16, torch.float16, torch.float64)),
    (torch.uint8, 11, "no gradient"),
    (torch.float32, 7, "one gradient"),
    (torch.float32, 31, "one gradient"),
]


class NoDevice:
    """As much of a driver as compiling asks for."""

    def __init__(self, capability):
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self):
        return self.target

    def get_current_device(self):
        return self.target.arch  # what is compiled is kept for each device

    def get_current_stream(self, device):
        return 0


def compiled(call):
    """[kernel, registers, bytes spilled] of each kernel that a call compiles, as ptxas tells them."""
    told, launch = [], triton.runtime.JITFunction.run

    def compile_only(self, *arguments, **options):
        log = io.StringIO()
        with contextlib.redirect_stdout(log):
            launch(self, *arguments, **{**options, "warmup": True})
        if "registers" in log.getvalue():  # else it has been compiled before
            spilled = sum(map(int, re.findall(r"(\d+) bytes spill", log.getvalue())))
            told.append([self.__name__, int(re.search(r"Used (\d+) registers", log.getvalue())[1]), spilled])

    triton.knobs.nvidia.dump_ptxas_log = True
    triton.runtime.JITFunction.run = compile_only
    try:
        call()
    finally:
        triton.runtime.JITFunction.run = launch
    return told


def example(dtype, win_size, needs):
    """A call of the backend on images of no content: three scales, so that all that it has to launch is launched."""
    x = torch.zeros(1, 1, 4 * win_size, 4 * win_size, dtype=dtype)
    options = (window.gaussian_taps(win_size, 1.5), *window.constants(0.01, 0.03, 1.0), 1.0, 3, False)
    means, *kept = triton_backend.means_and_gradients(x, x, *options, *NEEDS[needs])
    for gradient in kept:
        if gradient.numel():
            triton_backend.gradient(means, gradient, *x.shape[-2:], 3, win_size - 1, dtype)


def main():
    """Print one line for each kernel, case and GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="regular expression (default: every case)")
    pattern = parser.parse_args().pattern
    line = "{:6} {:40} {:7} {:>9} {:>13}"
    print(line.format("GPU", "case", "kernel", "registers", "bytes spilled"))
    for capability in CAPABILITIES:
        triton.runtime.driver.set_active(NoDevice(capability))
        for dtype, win_size, needs in CASES:
            case = f"{dtype} window {win_size} {needs}".removeprefix("torch.")
            if re.search(pattern, case):
                for told in compiled(lambda case=(dtype, win_size, needs): example(*case)):
                    print(line.format(f"sm_{capability}", case, *told), flush=True)


if __name__ == "__main__":
    main()
