"""How a report was made: the machine, the versions, the commit."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess

import torch

_PACKAGES = (
    "torch", "numpy", "scikit-image", "tensorflow", "tensorflow-cpu", "numba", "triton", "pandas", "matplotlib",
    "pillow", "pytorch-msssim", "torchmetrics", "piq", "piqa", "kornia", "monai", "pytorch-ignite", "fused-ssim",
    "fussim", "pyiqa", "opencv-contrib-python-headless",
)  # fmt: skip


def describe(device: str) -> dict[str, str]:
    """Return what a report says about the machine, in order."""
    found = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
    }
    if str(device).startswith("cuda"):
        found["GPU"] = torch.cuda.get_device_name(device)
    found["system"] = platform.platform()
    found["Python"] = platform.python_version()
    found["packages"] = ", ".join(f"{name} {version}" for name in _PACKAGES if (version := _version(name)))
    commit = _commit()
    if commit:
        found["commit"] = commit
    return found


def _cpu_model() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of these sources, and whether files differ from it; None outside a repository."""
    root = pathlib.Path(__file__).parents[2]
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head} with uncommitted changes" if changed else head


def _git(root: pathlib.Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
