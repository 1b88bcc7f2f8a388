"""Maps of every scale of msssim(), and the weights of maps."""

import pytest
import torch

import msssim

TWO = dict(weights=(0.4, 0.6))


@pytest.mark.parametrize("shape", [(2, 3, 45, 50), (3, 45, 50), (45, 50)])
@pytest.mark.parametrize("masked", [False, True])
def test_maps_average_to_the_terms(pair, shape, masked):
    x, y = pair(*shape)
    mask = (torch.rand(45, 50, generator=torch.Generator().manual_seed(0)) > 0.4) if masked else None
    value, terms, maps, weights = msssim.msssim(x, y, mask=mask, scales=True, full="weights", **TWO)
    assert [each.shape for each in maps] == [(*shape[:-2], 35, 40), (*shape[:-2], 13, 15)]
    assert [each.shape for each in weights] == [each.shape for each in maps]
    assert value == msssim.msssim(x, y, mask=mask, backend="torch", **TWO)
    for level, (map, weight) in enumerate(zip(maps, weights, strict=True)):
        mean = (map * weight).sum((-2, -1)) / weight.sum((-2, -1))
        torch.testing.assert_close(mean, terms[..., level])
        assert masked or torch.equal(weight, torch.ones_like(weight))
    assert len(msssim.msssim(x, y, full=True, **TWO)) == 2
    assert torch.equal(msssim.msssim(x, y, mask=mask, full=True, **TWO)[1][0], maps[0])
    assert [type(each) for each in msssim.msssim(x, y, scales=True, full=True, **TWO)] == [torch.Tensor] * 2 + [tuple]


def test_the_map_of_one_scale_is_that_of_ssim(pair):
    x, y = pair(1, 2, 30, 31)
    _, (map,) = msssim.msssim(x, y, weights=(1.0,), full=True)
    assert torch.equal(map, msssim.ssim(x, y, full=True)[1])


def test_maps_are_those_of_the_images_between_scales(pair, naive):
    x, y = pair(1, 2, 46, 50)
    _, maps = msssim.msssim(x, y, full=True, **TWO)
    half = [torch.nn.functional.avg_pool2d(image, 2) for image in (x, y)]
    torch.testing.assert_close(maps[1], msssim.ssim(*half, full=True)[1])
    torch.testing.assert_close(maps[0].mean((-2, -1)), naive(x, y)[1][..., 0])


def test_weights_are_those_of_the_mask_in_its_own_units(pair):
    x, y = pair(30, 31)
    mask = torch.zeros(30, 31)
    mask[:, 15:] = 3.0
    _, map, weights = msssim.ssim(x, y, mask=mask, full="weights")
    assert not weights[:, :5].any() and not map[:, :5].any()
    torch.testing.assert_close(weights[:, 15:], torch.full_like(weights[:, 15:], 3.0))
    _, _, of_scales = msssim.msssim(x, y, mask=mask, full="weights", **TWO)
    assert of_scales[0].max() == pytest.approx(3.0) and 2.5 < of_scales[1].max() < 3.0


def test_maps_are_differentiable(pair):
    x, y = (image.requires_grad_() for image in pair(1, 1, 9, 8))
    index = lambda x, y: msssim.msssim(x, y, win_size=3, sigma=1.0, full=True, **TWO)[1]  # noqa: E731
    assert torch.autograd.gradcheck(index, (x, y))
    module = msssim.MSSSIM(full="weights", win_size=3, **TWO)
    assert len(module(x, y)) == 3 and module(x, y)[1][0].requires_grad


def test_errors(pair):
    x, y = pair(50, 50)
    for call in (msssim.ssim, msssim.msssim, lambda *_, **options: msssim.SSIM(**options)):
        with pytest.raises(ValueError, match="full must be False, True or 'weights', got 'map'"):
            call(x, y, full="map")
    pytest.importorskip("numba")
    with pytest.raises(ValueError, match="computes no maps, got full=True"):
        msssim.msssim(x, y, full=True, backend="numba", **TWO)
