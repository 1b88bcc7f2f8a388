"""Random calls with masks and padding: what is drawn, that faults are found, and that masks are shrunk."""

import itertools
import math

import numpy as np
import pytest
import torch

import msssim
from msssim.backends import masked as weighted
from reference import borders, longdouble, wang
from reference import masked as loop
from validation import fuzz
from validation.fuzz import calls, check, draws, masks, question, shrink
from validation.fuzz.expected import references

pytestmark = pytest.mark.skipif(not longdouble.available(), reason="long double has no more digits than float64 here")


def _batches(seed, wanted):
    """The batches of a seed that fulfil a condition."""
    return (batch for batch in (draws.batch(seed, number) for number in itertools.count()) if wanted(batch[0]))


def _masked(draw):
    return draw.mask is not None


def _padded(draw):
    return draw.padding != "valid"


def test_masks_of_every_shape_and_kind_are_drawn():
    found = list(itertools.islice(_batches(0, _masked), 60))
    assert {batch[0].mask_dtype for batch in found} == set(masks.DTYPES)
    assert {calls.mask(batch).dim() - batch[0].axes for batch in found} == {0, 2}
    assert {repr(batch[0].hidden) for batch in found} == {"None", "nan", "inf", "1e+30"}
    assert any(len(batch[0].mask) > 1 for batch in found)
    every = [draw.mask for batch in found for draw in batch]
    assert any((mask == 1).all() for mask in every) and any((mask == 0).all() for mask in every)
    for batch in found:
        mask = calls.mask(batch)
        values = np.stack([draw.mask for draw in batch]) if mask.dim() > batch[0].axes else batch[0].mask[0]
        assert np.array_equal(mask.double().numpy(), values)
        assert all(_equal_options(draw, batch[0]) for draw in batch)


def _equal_options(one, other):
    return (one.options, one.mask_dtype, repr(one.hidden)) == (other.options, other.mask_dtype, repr(other.hidden))


def test_every_padding_is_drawn_also_with_images_smaller_than_the_window():
    found = [batch[0] for batch in itertools.islice(_batches(0, _padded), 60)]
    assert {draw.padding for draw in found} == {"zeros", "reflect", "replicate", "symmetric"}
    assert all(len(draw.options.weights) == 1 and draw.options.normalize is None for draw in found)
    assert any(min(draw.x.shape[1:]) < draw.options.win_size for draw in found)
    assert all(min(draw.x.shape[1:]) >= draw.min_side for draw in found)


def test_most_calls_have_neither():
    first = [draws.batch(5, number)[0] for number in range(200)]
    share = np.mean([_masked(draw) or _padded(draw) for draw in first])
    assert 0.1 < share < 0.3


def _of_few_kernels(draw):
    """Numba compiles code for each dtype of images and masks, and each window."""
    usual = draw.axes == 2 and draw.options.win_size == 11 and draw.dtype in ("float32", "float64")
    return usual and draw.mask_dtype == "bool"


@pytest.mark.parametrize("backend", ["torch", pytest.param("numba", marks=pytest.mark.full)])
@pytest.mark.parametrize("wanted", [_masked, _padded])
def test_random_calls_are_within_their_budgets(backend, wanted):
    if backend == "numba":
        pytest.importorskip("numba")
    chosen = (batch for batch in _batches(2027, wanted) if backend == "torch" or _of_few_kernels(batch[0]))
    checked = 0
    for batch in itertools.islice(chosen, 10):
        for draw, outcome in zip(batch, check.check(batch, backend), strict=True):
            assert outcome.failures == [], shrink.as_test(draw, backend, "fuzz", "")
            checked += outcome.counts["budgets checked"]
    assert checked


def _pair(hidden=None, levels=2):
    x = np.random.default_rng(0).random((2, 22, 26))
    mask = (np.random.default_rng(1).random((1, 22, 26)) > 0.2).astype(np.float64)
    options = longdouble.Options(weights=(0.5,) * levels, normalize="simple", win_size=5)
    return fuzz.Draw("noise", x, x**2, "float64", options, mask, "bool", hidden)


@pytest.mark.parametrize("hidden", [None, math.nan, math.inf, 1e30])
def test_the_expected_value_is_that_of_a_direct_loop(hidden):
    draw = _pair(hidden)
    terms = [loop.msssim(*pair, draw.mask[0], data_range=1, weights=(0.5, 0.5), win_size=5)[1]
             for pair in zip(draw.x, draw.y, strict=True)]  # fmt: skip
    (expected,) = references([draw])
    assert expected.value == pytest.approx(np.mean(np.sqrt((np.array(terms) + 1) / 2).prod(-1)), abs=1e-13)
    assert fuzz.failures(draw, "torch") == []


def test_planes_without_an_index_do_not_count():
    draw = _pair()
    first_only = draw._replace(mask=np.concatenate([draw.mask, 0 * draw.mask]))
    one, both = (references([each])[0] for each in (draw._replace(x=draw.x[:1], y=draw.y[:1]), first_only))
    assert both.planes == 1 and both.value == one.value
    assert np.array_equal(both.gradients[0][:1], one.gradients[0]) and not both.gradients[0][1].any()
    nothing = draw._replace(mask=0 * draw.mask)
    (outcome,) = check.check([nothing], "torch")
    assert outcome.failures == [] and outcome.counts["no index"] == 1


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate", "symmetric"])
def test_padding_is_that_of_padded_images_with_gradients_by_differences(padding):
    x, y = np.random.default_rng(0).random((2, 1, 7, 9))
    options = longdouble.Options(weights=(1.0,), win_size=5)
    found = borders.ssim(x, y, options, padding)
    whole = [np.pad(image[0], 2, mode=borders.NUMPY_MODES[padding]) for image in (x, y)]
    assert float(found.value[0]) == pytest.approx(wang.ssim_index(*whole, data_range=1, win_size=5)[0], abs=1e-13)
    step = np.longdouble(1e-6)
    for position in ((0, 0, 0), (0, 6, 3), (0, 3, 4)):
        values = []
        for sign in (1, -1):
            moved = x.astype(np.longdouble)
            moved[position] += sign * step
            values.append(borders.ssim(moved, y, options, padding).value[0])
        assert abs((values[0] - values[1]) / (2 * step) - found.gradient_x[position]) < 1e-10


@pytest.fixture
def means_without_weights(monkeypatch):
    """A fault that only masks show: the mean over the map does not use the weights of the windows."""
    right = weighted.mean_of_map

    def wrong(values, windows):
        return right(values, windows._replace(weight=(windows.weight > 0).to(windows.weight)))

    monkeypatch.setattr(weighted, "mean_of_map", wrong)


def test_a_planted_error_is_found_and_its_mask_shrunk(means_without_weights):
    draw = _pair(math.nan)
    assert fuzz.failures(draw._replace(mask=None, hidden=None), "torch") == []
    assert "value" in {each.what for each in fuzz.failures(draw, "torch")}
    small = shrink.shrink(draw, lambda other: bool(fuzz.failures(other, "torch")), seconds=30)
    assert small.mask is not None and small.hidden is None
    assert small.x.shape[0] == 1 and (small.mask == 0).sum() < 3
    namespace = {}
    exec(shrink.IMPORTS + shrink.as_test(small._replace(hidden=math.nan), "torch", "planted", "a note"), namespace)
    with pytest.raises(AssertionError):
        namespace["test_planted"]()


def test_padding_and_masks_that_do_not_matter_are_dropped():
    padded = _pair(levels=1)._replace(mask=None, padding="reflect")
    for draw in (padded, _pair(math.inf)):
        small = shrink.shrink(draw, lambda other: True, seconds=30)
        assert small.mask is None and small.hidden is None and small.padding == "valid"


def test_hidden_pixels_that_reach_the_result_are_found(monkeypatch):
    right = msssim.msssim

    def wrong(x, y, **options):
        value = right(x, y, **options)
        return value + 1e-13 * x.isnan().any()

    monkeypatch.setattr(msssim, "msssim", wrong)
    assert [each.what for each in fuzz.failures(_pair(math.nan), "torch")] == ["hidden pixels change a bit"]
    assert fuzz.failures(_pair(), "torch") == []

    def leaking(x, y, **options):
        return right(x, y, **options) + 1e-14 * (x[..., :1, :].sum((1, 2, 3)))

    draw = _pair()
    draw.mask[0, 0, 3] = 0
    monkeypatch.setattr(msssim, "msssim", leaking)
    assert "gradient of hidden pixels" in {each.what for each in fuzz.failures(draw, "torch")}


def test_a_number_where_no_plane_has_an_index_is_found(monkeypatch):
    monkeypatch.setattr(msssim, "msssim", lambda x, y, **options: (0 * (x + y)).sum((1, 2, 3)) + 0.5)
    draw = _pair()._replace(mask=np.zeros((1, 22, 26)))
    assert [each.what for each in fuzz.failures(draw, "torch")] == ["a number without an index"]


def test_calls_that_a_backend_lacks_are_counted_as_not_supported():
    number = next(n for n in itertools.count() if _masked(draws.batch(1, n)[0]) and draws.batch(1, n)[0].axes == 3)
    _, counts = question._chunk(1, ("numba",), False, range(number * draws.BATCH, number * draws.BATCH + 8))
    assert sum(counts.values()) == 8 and {verdict for *_, verdict in counts} == {"not supported"}


def test_all_ones_are_no_mask_in_the_reference():
    draw = _pair()
    ones = draw._replace(mask=np.ones_like(draw.mask))
    one, other = (references([each])[0] for each in (draw._replace(mask=None), ones))
    assert one.value == pytest.approx(other.value, abs=1e-17)
    for a, b in zip(one.gradients, other.gradients, strict=True):
        assert abs(a - b).max() < 1e-16 * abs(a).max()


def test_weights_of_one_dtype_reach_the_library():
    draw = _pair()._replace(mask_dtype="float32")
    assert calls.mask([draw]).dtype == torch.float32 and calls.mask([draw]).shape == (22, 26)
    assert calls.mask([draw, _pair()]).shape == (2, 1, 22, 26)
