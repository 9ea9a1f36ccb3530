"""Row tilings of images: a thread takes one tile at a time."""

import functools
import itertools
import math

import numpy as np


class RowTiling:
    """A tiling of an image by rows of the result. A row is all that has the same place on the first
    spatial axis."""

    def __init__(self, spatial, output, starts, strides, padding, values: int):
        self.spatial, self.output, self.strides, self.padding = spatial, output, strides, padding
        self.values = values  # numbers of a pixel of x
        self.reach = int(starts[..., 0].max()) + 1
        self.across = [int(n + sum(pad)) for n, pad in zip(spatial, padding, strict=True)][1:]
        self.steps = np.array(
            [math.prod(self.across[i:]) * values for i in range(len(spatial))], np.int64
        )

    def tile_rows(self, strip: int, count: int) -> int:
        """Return the rows of one tile: at most one strip, and few enough that an image has at least
        ``count`` tiles."""
        rows_of_strip = max(1, strip // math.prod(self.output[1:]))
        return min(rows_of_strip, math.ceil(self.output[0] / count))

    def input_rows(self, rows: int) -> int:
        """Return the number of rows of x that a tile sees."""
        return (rows - 1) * self.strides[0] + self.reach

    def window(self, rows: int) -> int:
        """Return the number of values that a tile sees, padding included."""
        return self.input_rows(rows) * math.prod(self.across) * self.values

    def pixels(self, rows: int) -> np.ndarray:
        """Return where the window of each pixel of a tile begins, relative to the first one's."""
        axes = zip((rows, *self.output[1:]), self.strides, self.steps, strict=True)
        places = [np.arange(n) * (stride * step) for n, stride, step in axes]
        return functools.reduce(np.add.outer, places).reshape(-1)

    def tile_table(self, rows: int, values: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the table of tiles (`TILE`) and that of copies (`COPY`) for pixels of y with so
        many values."""
        across, tiles, copies = math.prod(self.output[1:]), [], []
        for first in range(0, self.output[0], rows):
            count = min(rows, self.output[0] - first)
            top = first * self.strides[0] - int(self.padding[0, 0])
            made = self._copies(top, self.input_rows(rows)) if self.padding.any() else []
            x = max(top, 0) * int(self.steps[0])
            tiles.append((x, first * across * values, count * across, len(copies), len(made)))
            copies += made
        return np.array(tiles, np.int64), np.array(copies or [(0, 0, 0)], np.int64)

    def _copies(self, top: int, seen: int) -> list[tuple[int, int, int]]:
        """Return the copies from an image to the window of a tile: runs along the last axis."""
        first = [max(top, 0), *[0] * (len(self.spatial) - 1)]
        last = [min(top + seen, self.spatial[0]), *self.spatial[1:]]
        low = [-top, *(int(pad[0]) for pad in self.padding[1:])]
        run = (last[-1] - first[-1]) * self.values
        if run <= 0:
            return []
        image_steps = [math.prod(self.spatial[i + 1 :]) * self.values for i in range(len(first))]
        ranges = [range(a, b) for a, b in zip(first[:-1], last[:-1], strict=True)]
        places = [(*place, first[-1]) for place in itertools.product(*ranges)]
        return [
            (
                sum(p * step for p, step in zip(place, image_steps, strict=True)),
                sum((p + n) * int(s) for p, n, s in zip(place, low, self.steps, strict=True)),
                run,
            )
            for place in places
        ]
