"""SSIM and MS-SSIM as metrics of torchmetrics, under the names that they have there. It needs torchmetrics."""

from typing import Any

import torch
from torch import Tensor

from . import checks, foreign, modules

try:
    from torchmetrics import Metric
    from torchmetrics.utilities import dim_zero_cat
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"msssim.metrics needs {error.name}: python -m pip install torchmetrics", name=error.name
    ) from error

__all__ = ["MultiScaleStructuralSimilarityIndexMeasure", "StructuralSimilarityIndexMeasure"]


class _Index(Metric):  # type: ignore[misc] # torchmetrics is not analysed
    """The mean, sum or list of the index of all images."""

    is_differentiable = True
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    total: Tensor
    count: Tensor
    values: list[Tensor]

    def __init__(
        self, module: type[modules.SSIM] | type[modules.MSSSIM], excluded: tuple[str, ...], options: dict[str, Any]
    ) -> None:
        foreign_names = foreign.INSTEAD.keys() - set(module._names)
        unknown = {name: value for name, value in options.items() if name in foreign_names or name in excluded}
        if unknown:
            foreign.refuse(type(self).__name__, unknown)
        own = {name: options.pop(name) for name in module._names if name in options}
        super().__init__(**options)
        self.reduction = own.pop("reduction", "mean")
        checks.one_of("reduction", self.reduction, checks.REDUCTIONS)
        self.index = module(reduction="none", **own)
        self._dtype_of_values = torch.float32
        if self.reduction == "none":
            self.add_state("values", [], dist_reduce_fx="cat")
        else:
            # The mean of many float32 values is exact to the last digit only if it is summed in float64.
            wide = torch.float32 if torch.backends.mps.is_available() else torch.float64
            self.add_state("total", torch.zeros((), dtype=wide), dist_reduce_fx="sum")
            self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, mask: Any = None) -> None:
        """Add images.

        Parameters
        ----------
        preds, target : Tensor, shape (N, C, H, W), (C, H, W) or (H, W), or as `spatial_dims` says
            The images, as of :func:`msssim.ssim`.
        mask : optional
            As of :func:`msssim.ssim`.
        """
        values = self.index(preds, target, **({} if mask is None else {"mask": mask})).reshape(-1)
        self._dtype_of_values = torch.promote_types(values.dtype, self._dtype_of_values)
        if self.reduction == "none":
            self.values.append(values)
        else:
            self.total = self.total + values.sum(dtype=self.total.dtype)
            self.count = self.count + len(values)

    def compute(self) -> Tensor:
        """The mean or sum over all images since the last reset, or with ``reduction="none"`` one value for each."""
        if self.reduction == "none":
            found: Tensor = dim_zero_cat(self.values)
            return found
        value = self.total / self.count if self.reduction == "mean" else self.total
        return value.to(self._dtype_of_values)

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._dtype_of_values = torch.float32

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot one value or several, by default the current one; it needs Matplotlib.

        Parameters
        ----------
        val : Tensor or sequence of Tensor, optional
            What to plot.
        ax : matplotlib.axes.Axes, optional
            Where to plot it.

        Returns
        -------
        tuple
            The figure and its axes.
        """
        return self._plot(val, ax)


class StructuralSimilarityIndexMeasure(_Index):
    """SSIM of all images, as a metric of torchmetrics. Only the sum of the values is kept, never an image.

    Parameters
    ----------
    **options
        Those of :class:`msssim.SSIM`, except `full`, and those of :class:`torchmetrics.Metric`. `reduction` is "mean"
        over all images, "sum" or "none".

    Examples
    --------
    >>> import torch
    >>> from msssim.metrics import StructuralSimilarityIndexMeasure
    >>> metric = StructuralSimilarityIndexMeasure(data_range=1.0)
    >>> image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> metric.update(image, image)
    >>> metric.compute()
    tensor(1.)
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(modules.SSIM, ("full",), options)


class MultiScaleStructuralSimilarityIndexMeasure(_Index):
    """MS-SSIM of all images, as a metric of torchmetrics. Only the sum of the values is kept, never an image.

    Parameters
    ----------
    **options
        Those of :class:`msssim.MSSSIM`, except `scales` and `full`, and those of :class:`torchmetrics.Metric`.
        `reduction` is "mean" over all images, "sum" or "none".

    Examples
    --------
    >>> import torch
    >>> from msssim.metrics import MultiScaleStructuralSimilarityIndexMeasure
    >>> metric = MultiScaleStructuralSimilarityIndexMeasure(small="fewer")
    >>> image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> metric.update(image, image)
    >>> metric.compute()
    tensor(1.)
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(modules.MSSSIM, ("scales", "full"), options)
