"""The definitions as NumPy loops in float64: slow, plain, and independent of the library."""

import itertools

import numpy as np

from tests.helpers import Case, sources


def bank(case: Case, w: np.ndarray, *, lifting: bool) -> np.ndarray:
    """``psi_r(x, s) = psi(r^-1 x, r^-1 s)``: ``[*kernel, (s,) C_in, r, C_out]``."""
    kernel = w.shape[: case.dimension]
    moved = []
    for r in range(case.order):
        psi = w[sources(case, r, kernel)]
        if not lifting:
            psi = np.stack([psi[..., case.divide(r, s), :, :] for s in range(case.order)], -3)
        moved.append(psi)
    return np.stack(moved, -2)


def conv(case: Case, x, w, *, lifting: bool, strides, low, output, dilation) -> np.ndarray:
    """``[f * psi](p, r) = sum_x sum_k f_k(x) psi_k(r^-1 (x - p))``, sums over s too on the group.

    One integer for each axis: ``strides``, ``low`` (zeros before the first pixel), ``output``
    (positions p) and ``dilation``.
    """
    d = case.dimension
    psi = bank(case, w, lifting=lifting)
    spatial = x.shape[1 : 1 + d]
    y = np.zeros((len(x), *output, case.order, w.shape[-1]))
    for p in np.ndindex(*output):
        for t in np.ndindex(*w.shape[:d]):
            pixel = tuple(p[a] * strides[a] + t[a] * dilation[a] - low[a] for a in range(d))
            if all(0 <= q < n for q, n in zip(pixel, spatial, strict=True)):
                f = x[(slice(None), *pixel)]  # [N, (s,) C_in]
                over = f.ndim - 1  # the channels, and the group axis if there is one
                y[(slice(None), *p)] += np.tensordot(f, psi[t], axes=over)
    return y


def pool(x, *, first: int, window, strides, low, output, reduce) -> np.ndarray:
    """``reduce`` over the pixels of each window that lie in the image; axis 0 of its input."""
    spatial = x.shape[first : first + len(window)]
    y = np.empty((*x.shape[:first], *output, *x.shape[first + len(window) :]))
    for p in np.ndindex(*output):
        inside = [
            range(max(p[a] * strides[a] - low[a], 0), min(p[a] * strides[a] - low[a] + k, n))
            for a, (k, n) in enumerate(zip(window, spatial, strict=True))
        ]
        batch = (slice(None),) * first
        pixels = np.stack([x[(*batch, *q)] for q in itertools.product(*inside)])
        y[(*batch, *p)] = reduce(pixels)
    return y


def rotate(x: np.ndarray, angle: float, fill: float = 0.0) -> np.ndarray:
    """Bilinear rotation of ``[H, W]`` about the center, counter-clockwise as displayed."""
    height, width = x.shape
    y = np.empty_like(x)
    for i, j in np.ndindex(height, width):
        # Mathematical axes, right and up; the source is the point turned back.
        right, up = j - (width - 1) / 2, (height - 1) / 2 - i
        source_right = np.cos(angle) * right + np.sin(angle) * up
        source_up = np.cos(angle) * up - np.sin(angle) * right
        row, column = (height - 1) / 2 - source_up, source_right + (width - 1) / 2
        y[i, j] = 0
        for a, b in itertools.product((0, 1), (0, 1)):
            m, n = int(np.floor(row)) + a, int(np.floor(column)) + b
            weight = (1 - abs(row - m)) * (1 - abs(column - n))
            value = x[m, n] if 0 <= m < height and 0 <= n < width else fill
            y[i, j] += weight * value
    return y
