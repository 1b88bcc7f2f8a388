"""Exported programs: standard operators without a backend being named, the value of eager mode, any image size."""

import subprocess
import sys

import pytest
import torch
from marks import compiling

import msssim

pytestmark = [
    pytest.mark.since_torch(2, 7),  # earlier exporters cannot be recognized
    compiling,
]
WEIGHTS = (0.4, 0.6)  # two scales: the time of an export grows with their number
MODULES = {
    "ssim": msssim.SSIM(),
    "msssim": msssim.MSSSIM(normalize="covariance", weights=WEIGHTS),
    "loss": msssim.MSSSIMLoss(weights=WEIGHTS, reduction="none"),
}


@pytest.fixture
def images(pair):
    return pair(2, 3, 50, 44, dtype=torch.float32)


def operators(program):
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


def sizes_are_dynamic():
    # With 22 pixels the coarsest map would have one, and PyTorch treats sizes of 1 as fixed.
    batch, height, width = (torch.export.Dim(name, min=low) for name, low in (("n", 1), ("h", 23), ("w", 23)))
    return {"img1": {0: batch, 2: height, 3: width}, "img2": {0: batch, 2: height, 3: width}}


@pytest.mark.parametrize("name", MODULES)
def test_standard_operators_and_the_value_of_eager_mode(images, name):
    program = torch.export.export(MODULES[name], images)
    assert all(each.startswith(("aten.", "<built-in")) for each in operators(program)), operators(program)
    torch.testing.assert_close(program.module()(*images), MODULES[name](*images), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["ssim", "msssim"])
@pytest.mark.full_where(name="msssim")
def test_named_dynamic_sizes(pair, images, name):
    program = torch.export.export(MODULES[name], images, dynamic_shapes=sizes_are_dynamic())
    for shape in ((1, 3, 60, 45), (3, 3, 45, 61), (2, 3, 23, 24)):
        x, y = pair(*shape, dtype=torch.float32, seed=1)
        torch.testing.assert_close(program.module()(x, y), MODULES[name](x, y), rtol=0, atol=1e-6)


@pytest.mark.full
def test_dynamic_sizes_without_a_minimum(pair, images):
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(MODULES["ssim"], images, dynamic_shapes=[{0: dynamic, 2: dynamic, 3: dynamic}] * 2)
    for shape in ((3, 3, 60, 45), (2, 3, 12, 13)):
        x, y = pair(*shape, dtype=torch.float32, seed=1)
        torch.testing.assert_close(program.module()(x, y), MODULES["ssim"](x, y), rtol=0, atol=1e-6)
    height = torch.export.Dim("h")
    with pytest.raises(torch._dynamo.exc.UserError, match=r"(?s)Constraints violated \(h\).*11 <= .*size\(\)\[2\]"):
        torch.export.export(MODULES["ssim"], images, dynamic_shapes=[{2: height}] * 2)


def test_a_backend_that_is_named_is_kept(images):
    if "numba" not in msssim.available_backends():
        pytest.skip("numba is not installed")
    program = torch.export.export(msssim.SSIM(backend="numba"), images)
    assert "msssim.pyramid_means.default" in operators(program)


def run_without_msssim(code, *arguments):
    code = "import sys; sys.modules['msssim'] = None; import torch; " + code
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return torch.tensor(float(done.stdout))


@pytest.mark.full
def test_a_saved_program_runs_without_msssim(images, tmp_path):
    torch.export.save(torch.export.export(MODULES["msssim"], images), tmp_path / "program.pt2")
    torch.save(images, tmp_path / "images.pt")
    code = "print(torch.export.load(sys.argv[1]).module()(*torch.load(sys.argv[2])).item())"
    found = run_without_msssim(code, tmp_path / "program.pt2", tmp_path / "images.pt")
    torch.testing.assert_close(found, MODULES["msssim"](*images), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # it fixes the sizes
def test_a_saved_trace_runs_without_msssim(images, tmp_path):
    torch.jit.trace(MODULES["msssim"], images).save(tmp_path / "trace.pt")
    torch.save(images, tmp_path / "images.pt")
    code = "print(torch.jit.load(sys.argv[1])(*torch.load(sys.argv[2])).item())"
    found = run_without_msssim(code, tmp_path / "trace.pt", tmp_path / "images.pt")
    torch.testing.assert_close(found, MODULES["msssim"](*images), rtol=0, atol=1e-6)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # the exporter has many for its own code and its packages
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", ["ssim", "msssim"])
def test_onnx(pair, images, tmp_path, name, dynamic):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnx, onnxscript and onnxruntime")
    pytest.importorskip("onnxscript", reason="needs onnx, onnxscript and onnxruntime")
    shapes = sizes_are_dynamic() if dynamic else None
    program = torch.onnx.export(MODULES[name].eval(), images, dynamo=True, dynamic_shapes=shapes, verbose=False)
    program.save(tmp_path / "index.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "index.onnx")
    for shape in ((1, 3, 60, 45), (3, 3, 45, 61)) if dynamic else (images[0].shape,):
        x, y = pair(*shape, dtype=torch.float32, seed=1)
        feed = {each.name: image.numpy() for each, image in zip(session.get_inputs(), (x, y), strict=True)}
        found = torch.from_numpy(session.run(None, feed)[0]).reshape(())
        torch.testing.assert_close(found, MODULES[name](x, y), rtol=0, atol=1e-5)


@pytest.mark.full
def test_aot_inductor(images, tmp_path):
    program = torch.export.export(MODULES["msssim"], images)
    path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "index.pt2"))
    found = torch._inductor.aoti_load_package(path)(*images)
    torch.testing.assert_close(found, MODULES["msssim"](*images), rtol=0, atol=1e-5)
