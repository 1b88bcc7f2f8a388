"""Import rules: the library needs torch only, and a layer imports only the layers below it."""

import ast
import pathlib
import shutil
import subprocess
import sys

import pytest

import msssim

PACKAGE = pathlib.Path(msssim.__file__).parent
ROOT = pathlib.Path(__file__).parents[2]
OURS = {"msssim", "reference", "datasets", "validation", "benchmarks", "examples", "tests"}

# A file of the library imports only files with a lower number; those in backends/ may import each other.
RANK = {
    "__main__": 15,
    "__init__": 14,
    "losses": 13,
    "metrics": 13,
    "cli": 13,
    "compat": 12,
    "modules": 12,
    "warming": 12,
    "stream": 12,
    "functional": 11,
    "_msssim": 10,
    "_ssim": 10,
    "_call": 9,
    "color": 9,
    "ranges": 8,
    "checks": 7,
    "backends": 6,
    "masks": 5,
    "axes": 5,
    "multiscale": 2,
    "resample": 3,
    "casting": 2,
    "advice": 2,
    "window": 1,
    "_dispatch": 0,
    "cli_images": 0,
    "cli_stream": 1,
    "cli_output": 0,
    "foreign": 0,
    "__version__": 0,
    "_presets": 1,
    "_types": 0,
}
# Where an optional package may be imported: the folder of its kernels, or the files that need it.
OPTIONAL = {
    **dict.fromkeys(("numba", "llvmlite"), ("backends/numba/",)),
    "triton": ("backends/triton/",),
    "torchmetrics": ("metrics.py",),
    "numpy": ("backends/numba/", "cli_images.py", "cli_stream.py"),
    "tifffile": ("cli_stream.py",),
    **dict.fromkeys(("PIL", "cv2"), ("cli_images.py",)),
    "matplotlib": ("cli_output.py",),
    "tqdm": ("cli.py", "stream.py"),
}
SHARED_BY_BACKENDS = ("common", "forking")
PLAIN = ("borders", "filters", "masked", "variances")


def imports(path):
    """(level, dotted name) of all imports of a file, except those for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = f"{node.module}." if node.module else ""
            yield from ((node.level, base + alias.name) for alias in node.names)


def files(folder):
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"nothing is in {folder}"
    return found


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_library_imports_torch_and_lower_layers_only(path):
    inside = path.relative_to(PACKAGE)
    own = inside.parts[0] if inside.parts[0] in ("backends", "compat") else inside.stem
    kernel = len(inside.parts) > 2 and own == "backends"  # in a folder of its own
    pytorch_backend = inside.stem.endswith("_backend")
    for level, name in imports(path):
        top = name.split(".")[0]
        if level == 0:
            home = OPTIONAL.get(top)
            assert top == "torch" or top in sys.stdlib_module_names or _at_home(home, inside), f"imports {name}"
        elif level == len(inside.parts):  # from the root of the package
            assert RANK[top] < RANK[own], f"imports {name}, which is not below it"
            if kernel or pytorch_backend:
                # PyTorch differentiates its own operations, so their backends have to know how it runs them.
                known = ("window",) if kernel else ("window", "_dispatch", "casting")
                assert top in known, f"a backend knows numbers and dtypes alone, not {name}"
        else:  # from its own folder, or from backends/
            assert own in ("backends", "compat") and level < len(inside.parts), f"imports {name} from above the package"
            if kernel and level == len(inside.parts) - 1:  # from backends/
                assert top in SHARED_BY_BACKENDS, f"a backend does not import its neighbour {name}"
            elif pytorch_backend:
                assert top in (*SHARED_BY_BACKENDS, *PLAIN), f"a backend does not import another one: {name}"


def _at_home(home, path):
    return home is not None and path.as_posix().startswith(home)


@pytest.mark.parametrize("folder, others", [("reference", {"datasets"}), ("datasets", {"reference"})])
def test_oracles_and_datasets_do_not_import_each_other(folder, others):
    for path in files(folder):
        for level, name in imports(path):
            assert level or name.split(".")[0] not in others | {"msssim", "validation", "benchmarks", "tests"}, path


def test_nothing_imports_the_tests():
    for folder in OURS - {"tests"}:
        for path in files(folder):
            assert not [name for level, name in imports(path) if not level and name.split(".")[0] == "tests"], path
    for path in files("validation"):
        assert not [name for level, name in imports(path) if not level and name.split(".")[0] == "benchmarks"], path


QUESTIONS = {"accuracy", "fuzz", "peers", "subjective", "training"}
SHARED = {"report", "tolerances", "harness", "library", "emulated_gpu"}


@pytest.mark.parametrize("path", files("validation"), ids=relative)
def test_a_question_of_the_validation_imports_no_other_question(path):
    inside = path.relative_to(ROOT / "validation")
    own = inside.parts[0] if len(inside.parts) > 1 else inside.stem
    if own in ("__main__", "from_rows"):  # they make reports of all questions
        return
    for level, name in imports(path):
        top = name.split(".")[0]
        if level == 0:
            ours = top in OURS
            assert not (ours and own in {"report", "tolerances"}), f"{own} knows no measurement, but imports {name}"
        elif level == len(inside.parts):  # from the root of validation
            allowed = SHARED if own in QUESTIONS else {"tolerances"} if own == "report" else SHARED
            assert top in allowed, f"{own} imports {name}"


def test_the_benchmarks_take_only_the_report_and_the_tolerances_from_the_validation():
    for path in files("benchmarks"):
        for level, name in imports(path):
            if not level and name.startswith("validation."):
                assert name.split(".")[1] in {"report", "tolerances"}, f"{relative(path)} imports {name}"


def run(code, folder):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert not done.returncode, done.stderr
    return done.stdout


def test_import_in_a_new_process_imports_torch_only():
    code = """
import sys, torch
before = set(sys.modules)
import msssim
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - {"msssim", "torch"} - set(sys.stdlib_module_names)))
# Parts of PyTorch that it imports on first use: the first takes longer than everything else.
slow = {"_dynamo", "_inductor", "_export", "export", "onnx", "testing", "compiler.config"}
print(*{f"torch.{name}" for name in slow} & (set(sys.modules) - before))
"""
    assert run(code, ROOT).split() == []


def test_a_copied_folder_works_without_optional_packages(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "project" / "similarity", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "project" / "__init__.py").touch()
    code = """
import sys, warnings

OPTIONAL = {"numba", "triton", "scipy", "skimage", "PIL", "pandas", "matplotlib", "tqdm", "msssim"}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import torch
from project.similarity import MSSSIM, available_backends, msssim, ssim

assert "torch" in available_backends() and not OPTIONAL & {*available_backends()}
x = torch.rand(1, 1, 176, 176, requires_grad=True)
loss = ssim(x, x.detach()) + msssim(x, 0 * x.detach(), normalize="simple") + MSSSIM()(x, x)
loss.backward()
assert x.grad.isfinite().all()
assert not [name for name in sys.modules if name.split(".")[0] == "msssim"]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    ssim(255 * x, 255 * x)
assert [str(each.filename) for each in caught] == ["<string>"], caught
"""
    run(code, tmp_path)
