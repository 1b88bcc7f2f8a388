"""A kernel module made of plain PyTorch, and faults to plant in it."""

import torch

from msssim import multiscale
from msssim.backends import torch_backend
from msssim.backends.common import pyramid_shapes


class Kernels:
    """The functions of a kernel module, by plain PyTorch; `fault` changes the (terms, gradient) that it returns."""

    VERSION = "triton 9.9"

    def __init__(self):
        self.calls, self.comparisons, self.fault, self.error = 0, [], None, None

    def cut_of_call(self, shape, *options):
        """Small or large."""
        return shape[-1] > 64

    def means(self, img1, img2, *options):
        """See numba/api.py, as for the others."""
        return self.means_and_gradients(img1, img2, *options, False, False)[0]

    def means_and_gradients(self, img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2, cut=None):
        """A scale_grads tensor is the number of the image."""
        self.calls += cut is None
        if cut is not None:
            self.comparisons.append((img1.dtype, len(taps), need1 + need2, cut, levels))
        if self.error:
            raise self.error
        options = dict(taps=(taps,) * 2, c1=c1, c2=c2, unit=unit, levels=levels, rectify=rectify)
        self.images = [image.detach().double().requires_grad_() for image in (img1, img2)]
        with torch.enable_grad():
            self.terms = torch_backend.pyramid_means(*self.images, **options)
        terms = self.fault("terms", self.terms.detach()) if self.fault else self.terms.detach()
        pixels = sum(rows * columns for rows, columns in pyramid_shapes(*img1.shape[-2:], levels))
        numbers = ((which, pixels * need) for which, need in enumerate((need1, need2)))
        return terms, *(torch.full((*img1.shape[:2], size), float(which)) for which, size in numbers)

    def pool(self, terms, pooling, with_derivative):
        """The value and its derivative."""
        terms = terms.detach().requires_grad_()
        with torch.enable_grad():
            value = multiscale.pool(terms, pooling)
            return value.detach(), torch.autograd.grad(value.sum(), terms)[0] if with_derivative else None

    def gradient(self, upstream, dvalue_dterms, scale_grads, height, width, levels, halo, unit, dtype):
        """The gradient of the image whose number scale_grads holds."""
        image = self.images[int(scale_grads.flatten()[0])]
        through = upstream if dvalue_dterms is None else upstream.double().reshape(-1, 1, 1) * dvalue_dterms
        found = torch.autograd.grad(self.terms, image, through, retain_graph=True)[0]
        return (self.fault("gradient", found) if self.fault else found).to(dtype)


FAULTS = {
    "value": lambda what, found: found + 2e-5 * (what == "terms"),
    "one term of one plane": lambda what, found: found + 2e-5 * _only(found, 0, 1, 0) * (what == "terms"),
    "NaN": lambda what, found: found * float("nan"),
    "NaN in the gradient": lambda what, found: found * float("nan") if what == "gradient" else found,
    "gradient": lambda what, found: found * (1 + 1e-4 * (what == "gradient")),
    "last column": lambda what, found: _without_last_column(found) if what == "gradient" else found,
}


def _only(tensor, *place):
    mask = torch.zeros_like(tensor)
    mask[place] = 1
    return mask


def _without_last_column(tensor):
    tensor = tensor.clone()
    tensor[..., -1] = 0
    return tensor
