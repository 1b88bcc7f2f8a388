"""Sizes of a block and of its buffers. README.md shows them in a picture."""

from __future__ import annotations

from typing import NamedTuple

ROWS, COLUMNS, PART = 16, 64, 16
"""Rows and columns of a block; columns that are worked on at a time, and rows of what is transposed."""

COPIES = 16
"""How often each weight stands in the table of weights, side by side: at least the lanes of a vector."""


class Layout(NamedTuple):
    """Sizes, in numbers, of what depends on the window."""

    n_taps: int
    """Taps of the window up to the middle one."""
    masked: bool = False
    """Whether pixels have weights."""

    @property
    def halo(self) -> int:
        """Rows and columns that a window reaches beyond its first."""
        return 2 * (self.n_taps - 1)

    @property
    def pad(self) -> int:
        """Columns by which the gradient lags behind the pixels: the halo, rounded up to whole cache lines."""
        return PART if self.n_taps < 10 else 2 * PART

    @property
    def line(self) -> int:
        """A row of the tile."""
        return self.pad + COLUMNS

    @property
    def tile_plane(self) -> int:
        """The tile's part for s, for d, or, with a mask, for the weights."""
        return (ROWS + self.halo) * self.line

    @property
    def moment_plane(self) -> int:
        """One of the moments, filtered down the columns."""
        return (self.halo + COLUMNS) * ROWS

    @property
    def moments(self) -> int:
        """How many there are: E[s], E[d], E[s²], E[d²], and the weight."""
        return 4 + self.masked

    @property
    def grad_plane(self) -> int:
        """One of the derivatives of the map."""
        return (self.pad + COLUMNS) * ROWS

    @property
    def carry_plane(self) -> int:
        """One of the derivatives, filtered along the rows, in the rows above a block, for one part of its columns."""
        return self.halo * PART

    @property
    def lines_plane(self) -> int:
        """The same with the block's own rows."""
        return (self.halo + ROWS) * PART


class Measures(NamedTuple):
    """Which numbers are known of the map; ROWS of each."""

    total: int = 0
    """The sum of the map."""
    largest: int = 1
    """The largest denominator."""
    flat: int = 2
    """The sum of E[s²] + E[d²] over nearly flat windows."""
    ratio: int = 3
    """The largest ratio of E[s²] + E[d²] to the denominator of cs; with gradients only."""
    weight: int = 4
    """The sum of the weights of windows; with a mask only."""


MEASURES = Measures()


class Sheet(NamedTuple):
    """Where the numbers known of a strip are."""

    uncounted: int = len(MEASURES) * ROWS
    """After the measures: those of rows that another strip counts."""
    equal: int = 2 * len(MEASURES) * ROWS
    """How many pixels equal their right neighbour."""
    compared: int = 2 * len(MEASURES) * ROWS + 1
    """Of how many."""


SHEET = Sheet()
SHEET_SIZE = SHEET.compared + 1
