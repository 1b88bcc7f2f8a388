"""The fused CPU kernel's sweep over one scale, in NumPy: the same blocks, buffers and moments, for reading.

The kernel in ``msssim/backends/numba`` follows this structure. A strip of ``ROWS`` rows is walked from left to right in
blocks of ``COLUMNS`` columns. Every array here has the name of its buffer there.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
ROWS, COLUMNS = 16, 64


def sweep(x: Array, y: Array, taps: Array, c1: float, c2: float, luminance: bool) -> tuple[float, Array]:
    """Mean of cs (or of l * cs) over all windows, and the gradient of the *sum* over the windows with respect to x.

    Parameters
    ----------
    x, y : ndarray, shape (H, W)
        The images.
    taps : ndarray
        Window of one axis: symmetric, of odd length, sum 1.
    c1, c2 : float
        The constants C1 and C2.
    luminance : bool
        Whether to multiply cs by l, as at the last scale.
    """
    height, width = x.shape
    halo = len(taps) - 1
    total, gradient = 0.0, np.zeros_like(x)
    # Derivatives of the last `halo` rows of windows, filtered along the rows: the pixels below still need them.
    carry = np.zeros((3, halo, width))
    carry_shift = np.zeros((2, width))
    for top in range(0, height, ROWS):
        rows = min(ROWS, height - top)
        window_rows = max(0, min(ROWS, height - halo - top))
        shift = np.zeros(2)
        moments = np.zeros((4, window_rows, 0))  # moments filtered down, of the last `halo` columns at the left
        grads = np.zeros((3, window_rows, halo))  # derivatives of the last `halo` windows at the left
        pixels = np.zeros((2, rows, 0))  # s and d of the last `halo` columns at the left, whose gradient is not done
        for left in range(0, width, COLUMNS):
            block = np.s_[top : top + ROWS + halo, left : left + COLUMNS]
            tile = np.stack([x[block] + y[block], x[block] - y[block]])
            # The shift is near the mean of the block, so that E[s^2] - E[s]^2 cancels little.
            change, shift = tile.mean((1, 2)) - shift, tile.mean((1, 2))
            tile -= shift[:, None, None]
            down = _filter(np.concatenate([tile, tile * tile])[:, : window_rows + halo], taps, 1)
            moments = np.concatenate([_rebase_moments(moments, change), down[:, :window_rows]], 2)
            value, new_grads = _similarity(_filter(moments, taps, 2), shift, c1, c2, luminance)
            total += value.sum()
            grads = np.concatenate([_rebase_grads(grads, change), new_grads], 2)
            pixels = np.concatenate([pixels - change[:, None, None], tile[:, :rows]], 2)
            if left + COLUMNS >= width:  # no window starts further right
                grads = np.pad(grads, ((0, 0), (0, 0), (0, halo)))
            first = left - pixels.shape[2] + tile.shape[2]
            done = slice(first, first + grads.shape[2] - halo)
            along = _filter(grads, taps, 2)
            above = _rebase_grads(carry[:, :, done], shift[:, None, None] - carry_shift[:, None, done])
            lines = np.concatenate([above, along, np.zeros((3, rows - window_rows, along.shape[2]))], 1)
            by_s, by_d, through = _filter(lines, taps, 1)
            s, d = pixels[:, :, : by_s.shape[1]]
            gradient[top : top + rows, done] = 2 * (s * by_s + d * by_d) + through
            carry[:, :, done], carry_shift[:, done] = lines[:, rows:], shift[:, None]
            moments, grads, pixels = moments[:, :, -halo:], grads[:, :, -halo:], pixels[:, :, -halo:]
    return total / ((height - halo) * (width - halo)), gradient


def _similarity(moments: Array, shift: Array, c1: float, c2: float, luminance: bool) -> tuple[Array, Array]:
    """The map, and its derivatives to E[s^2], E[d^2] and, by way of the means of s and d, to the mean of x.

    2 (sigma_x^2 + sigma_y^2) = sigma_s^2 + sigma_d^2 and 4 sigma_xy = sigma_s^2 - sigma_d^2; the means likewise.
    """
    mean_s, mean_d, squares_s, squares_d = moments
    var_s, var_d = squares_s - mean_s**2, squares_d - mean_d**2
    denominator = var_s + var_d + 2 * c2
    cs = (var_s - var_d + 2 * c2) / denominator
    by_s, by_d = (1 - cs) / denominator, -(1 + cs) / denominator
    light, l_by_s, l_by_d = np.ones_like(cs), 0.0, 0.0
    if luminance:
        mu_s, mu_d = mean_s + shift[0], mean_d + shift[1]
        energy = mu_s**2 + mu_d**2 + 2 * c1
        light = (mu_s**2 - mu_d**2 + 2 * c1) / energy
        l_by_s, l_by_d = 2 * mu_s * (1 - light) / energy, -2 * mu_d * (1 + light) / energy
    through = light * (-2 * mean_s * by_s - 2 * mean_d * by_d) + cs * (l_by_s + l_by_d)
    return light * cs, np.stack([light * by_s, light * by_d, through])


def _rebase_moments(moments: Array, change: Array) -> Array:
    """The moments about a shift greater by `change`: E[(s - c)^2] = E[s^2] - c (E[s] + E[s - c])."""
    mean, square = moments[:2], moments[2:]
    moved = mean - change[:, None, None]
    return np.concatenate([moved, square - change[:, None, None] * (mean + moved)])


def _rebase_grads(grads: Array, change: Array) -> Array:
    """The derivatives for pixels about a shift greater by `change`: what the pixel loses, `through` gains."""
    change = change.reshape(2, 1, -1) if change.ndim > 1 else change[:, None, None]
    by_s, by_d, through = grads
    return np.stack([by_s, by_d, through + 2 * (change[0] * by_s + change[1] * by_d)])


def _filter(values: Array, taps: Array, axis: int) -> Array:
    """The weighted means along an axis, 'valid'. Its own adjoint, where the input has zeros around it."""
    if values.shape[axis] < len(taps):
        return np.zeros([0 if k == axis else size for k, size in enumerate(values.shape)])
    return sliding_window_view(values, len(taps), axis=axis) @ taps
