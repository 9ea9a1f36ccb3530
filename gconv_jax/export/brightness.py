"""The brightness that becomes black, the one that becomes white, and the pixels between them.

This needs NumPy alone. ``python -m train export`` writes a copy of it into the readers beside each
network.
"""

import math
from typing import Any

import numpy as np

_TAIL = 0.001
"""The share of the values at either end that may lie far outside of the others."""
_MOST_SAMPLES = 2**20


def limits(values: np.ndarray) -> tuple[float, float]:
    """Return the brightness that becomes 0 and the one that becomes 255.

    They are the least and the greatest of the finite values, or the percentiles 0.1 and 99.9 if the
    extremes are more than twice as far apart.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 0.0
    return between(sample(values, _MOST_SAMPLES), float(values.min()), float(values.max()))


def between(sample: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Return the `limits` of values of which a sample and the extremes are known."""
    # Values of the sample, not between two of them: one may be an extreme that lies far outside.
    sample = np.sort(sample, axis=None)
    last = len(sample) - 1
    bottom, top = float(sample[math.ceil(_TAIL * last)]), float(sample[int((1 - _TAIL) * last)])
    return (low, high) if top <= bottom or high - low <= 2 * (top - bottom) else (bottom, top)


def sample(values: np.ndarray, most: int) -> np.ndarray:
    """Return all values, flat, or so many of them; always the same."""
    if values.size <= most:
        return values.ravel()
    return values.ravel()[np.random.default_rng(0).integers(values.size, size=most)]


def eight_bits(values: np.ndarray, limits: Any) -> np.ndarray:
    """Return the values as uint8, with the lower limit as 0 and the upper as 255."""
    if limits is None:  # as before there were limits
        return values if values.dtype == np.uint8 else _by_full_range(values)
    low, high = map(float, limits)
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    if not low < high:
        return np.zeros(values.shape, np.uint8)
    with np.errstate(all="ignore"):
        share = np.nan_to_num((values.astype(np.float64) - low) / (high - low), nan=0.0)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def _by_full_range(values: np.ndarray) -> np.ndarray:
    if values.shape[-1] > 1 and values.dtype == np.uint16:
        return (values >> 8).astype(np.uint8)
    floating = values.dtype.kind == "f"
    values = np.nan_to_num(values.astype(np.float64))
    full = 1.0 if floating and values.max() <= 1 else 255.0
    full = 65535.0 if values.max() > full else full
    with np.errstate(over="ignore"):
        return np.clip(255 * values / full, 0, 255).astype(np.uint8)
