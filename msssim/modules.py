"""ssim() and msssim() as modules that keep their options."""

from torch import nn

from . import checks, functional
from .multiscale import WEIGHTS


class _Index(nn.Module):
    """What the two modules share: options that are checked when they are given and shown when printed."""

    def __init__(self, options):
        super().__init__()
        self.options = {name: value for name, value in options.items() if name not in ("self", "__class__")}

    def keep_numbers(self, data_range, win_size, sigma, K1, K2):
        """Keep the numbers that were checked: a tensor or an array given for one is read once."""
        self.options |= dict(data_range=data_range, win_size=win_size, sigma=sigma, K1=K1, K2=K2)

    def extra_repr(self):
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class SSIM(_Index):
    """:func:`msssim.ssim` as a module; the options are those of the function.

    Examples
    --------
    >>> import torch, msssim
    >>> criterion = msssim.SSIM(data_range=2.0)
    >>> image = torch.zeros(1, 3, 32, 32)
    >>> criterion(image, image)
    tensor(1.)
    """

    def __init__(
        self,
        *,
        data_range=None,
        win_size=11,
        sigma=1.5,
        K1=0.01,
        K2=0.03,
        downsample=None,
        full=False,
        reduction="mean",
        backend="auto",
    ):
        super().__init__(locals())
        self.keep_numbers(*checks.ssim_options(data_range, win_size, sigma, K1, K2, downsample, reduction, backend))

    def forward(self, img1, img2):
        return functional.ssim(img1, img2, **self.options)


class MSSSIM(_Index):
    """:func:`msssim.msssim` as a module; the options are those of the function.

    The index grows with similarity: a loss is ``1 - criterion(output, target)``, best with ``normalize="covariance"``.

    Examples
    --------
    >>> import torch, msssim
    >>> criterion = msssim.MSSSIM(normalize="covariance")
    >>> output = torch.full((1, 3, 176, 176), 0.5, requires_grad=True)
    >>> loss = 1 - criterion(output, torch.full((1, 3, 176, 176), 0.25))
    >>> loss.backward()
    >>> bool(output.grad.isfinite().all())
    True
    """

    def __init__(
        self,
        *,
        data_range=None,
        normalize=None,
        weights=WEIGHTS,
        method="product",
        win_size=11,
        sigma=1.5,
        K1=0.01,
        K2=0.03,
        scales=False,
        small="raise",
        reduction="mean",
        backend="auto",
    ):
        super().__init__(locals())
        _, numbers = checks.msssim_options(
            data_range, normalize, weights, method, win_size, sigma, K1, K2, small, reduction, backend
        )
        self.keep_numbers(*numbers)

    def forward(self, img1, img2):
        return functional.msssim(img1, img2, **self.options)
