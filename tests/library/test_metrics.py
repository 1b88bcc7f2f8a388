"""The metrics equal the function over all images, keep no image, and are synchronized between processes."""

import pickle
import sys

import pytest
import torch

import msssim

torchmetrics = pytest.importorskip("torchmetrics", reason="needs torchmetrics: python -m pip install torchmetrics")

from msssim import metrics  # noqa: E402  (after the check that skips this file)

CLASSES = {
    "ssim": metrics.StructuralSimilarityIndexMeasure,
    "msssim": metrics.MultiScaleStructuralSimilarityIndexMeasure,
}
OPTIONS = {"ssim": {"win_size": 7}, "msssim": {"normalize": "covariance", "small": "fewer"}}
BATCHES = (3, 1, 2)


@pytest.fixture
def batches(pair):
    x, y = pair(sum(BATCHES), 3, 48, 50)
    y = torch.stack([y[i] + 0.1 * i for i in range(len(y))])  # no two images have the same value
    return x, y, list(zip(x.split(BATCHES), y.split(BATCHES), strict=True))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", CLASSES)
def test_equal_to_the_function_over_all_images(batches, name, reduction):
    x, y, split = batches
    metric = CLASSES[name](reduction=reduction, data_range=2.0, **OPTIONS[name])
    function, options = getattr(msssim, name), {"data_range": 2.0} | OPTIONS[name]
    for images in split:
        of_batch = metric(*images)
        expected = function(*images, reduction=reduction, **options)
        expected = expected.squeeze() if len(images[0]) == 1 else expected  # torchmetrics does that
        torch.testing.assert_close(of_batch, expected, rtol=0, atol=1e-12)
    expected = function(x, y, reduction=reduction, **options)
    torch.testing.assert_close(metric.compute(), expected, rtol=0, atol=1e-12)
    metric.reset()
    metric.update(x[0], y[0])
    torch.testing.assert_close(metric.compute().reshape(()), function(x[0], y[0], **options), rtol=0, atol=1e-12)
    assert metric.compute().dtype == torch.float64


VOLUMES = {"ssim": {"spatial_dims": 3, "win_size": (3, 5, 7)}, "msssim": {"spatial_dims": 3, "small": "fewer"}}


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", CLASSES)
def test_volumes(pair, name, reduction):
    x, y = pair(3, 2, 14, 23, 12)
    masks = torch.ones_like(x)
    masks[:, :, :2] = 0
    metric, function = CLASSES[name](reduction=reduction, **VOLUMES[name]), getattr(msssim, name)
    metric.update(x[:2], y[:2], mask=masks[:2])
    metric.update(x[2], y[2], mask=masks[2])  # without a batch
    expected = function(x, y, reduction=reduction, mask=masks, **VOLUMES[name])
    torch.testing.assert_close(metric.compute(), expected, rtol=0, atol=1e-12)


def test_signals(pair):
    x, y = pair(3, 2, 60)
    metric = CLASSES["ssim"](spatial_dims=1)
    metric.update(x[:2], y[:2])
    metric.update(x[2:], y[2:])
    torch.testing.assert_close(metric.compute(), msssim.ssim(x, y, spatial_dims=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_no_image_is_kept(batches, reduction):
    metric = CLASSES["ssim"](reduction=reduction)
    for images in batches[2]:
        metric.update(*images)
    kept = sum(value.numel() for name in metric._defaults for value in _tensors(getattr(metric, name)))
    assert kept == (sum(BATCHES) if reduction == "none" else 2)


def _tensors(state):
    return state if isinstance(state, list) else [state]


def test_dtypes(pair):
    metric = CLASSES["ssim"]()
    x, y = pair(2, 1, 32, 32, dtype=torch.float32)
    metric.update(x, y)
    assert metric.compute().dtype == torch.float32
    torch.testing.assert_close(metric.compute(), msssim.ssim(x, y))
    metric.update((255 * x).byte(), (255 * y).byte())
    assert metric.compute().dtype == torch.float32


def test_pickle_clone_and_collection(batches):
    x, y, _ = batches
    both = torchmetrics.MetricCollection({name: each(**OPTIONS[name]) for name, each in CLASSES.items()})
    both.update(x, y)
    for twin in (both, both.clone(), pickle.loads(pickle.dumps(both))):
        assert twin.compute() == both.compute()
    expected = {name: getattr(msssim, name)(x, y, **OPTIONS[name]) for name in CLASSES}
    torch.testing.assert_close(both.compute(), expected, rtol=0, atol=1e-12)


def test_plot(batches):
    figure = pytest.importorskip("matplotlib.figure", reason="needs Matplotlib")
    metric = CLASSES["ssim"]()
    metric.update(*batches[2][0])
    axes = figure.Figure().subplots()
    _, plotted = metric.plot(ax=axes)
    assert plotted is axes and axes.has_data()


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"kernel_size": 7}, TypeError, "got an unexpected keyword argument 'kernel_size'; pass win_size"),
        ({"full": True}, TypeError, "unexpected keyword argument 'full'"),
        ({"reduction": "elementwise_mean"}, ValueError, "reduction must be one of 'mean', 'none', 'sum'"),
        ({"win_size": 4}, ValueError, "win_size must be an odd integer >= 3, got 4"),
        ({"colour": 1}, ValueError, "colour"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        CLASSES["ssim"](**options)


def test_missing_torchmetrics_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "msssim.metrics")
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(ModuleNotFoundError, match="needs torchmetrics: python -m pip install torchmetrics"):
        import msssim.metrics  # noqa: F401


def _process(rank, path, images):
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    x, y = images
    mean, each = CLASSES["ssim"](backend="torch"), CLASSES["ssim"](reduction="none", backend="torch")
    mine = slice(0, 4) if rank == 0 else slice(4, None)  # different numbers of images
    for metric in (mean, each):
        metric.update(x[mine], y[mine])
    expected = msssim.ssim(x, y, reduction="none", backend="torch")
    torch.testing.assert_close(mean.compute(), expected.mean(), rtol=0, atol=1e-12)
    torch.testing.assert_close(each.compute(), expected, rtol=0, atol=1e-12)
    assert mean.count == (4 if rank == 0 else 2)  # synchronized for compute() alone
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
def test_two_processes(batches, tmp_path):
    torch.multiprocessing.spawn(_process, (str(tmp_path / "rendezvous"), batches[:2]), nprocs=2)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # Lightning uses what PyTorch deprecates
def test_lightning_logs_it(batches, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch", reason="needs lightning")

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.metric = CLASSES["ssim"]()

        def validation_step(self, batch, index):
            self.metric(*batch)
            self.log("ssim", self.metric, on_epoch=True)

    x, y, _ = batches
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    (logged,) = trainer.validate(Model(), loader, verbose=False)
    assert logged["ssim"] == pytest.approx(msssim.ssim(x, y).item(), abs=1e-12)
