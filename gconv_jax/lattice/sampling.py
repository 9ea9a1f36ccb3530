"""Kernels of linear and of cubic interpolation, and positions of pixels and taps."""

import numpy as np


def linear_kernel(x: np.ndarray) -> np.ndarray:
    """Return the kernel of linear interpolation at x."""
    return np.maximum(0, 1 - np.abs(x))


def cubic_kernel(x: np.ndarray) -> np.ndarray:
    """Return the kernel of cubic convolution at x, with a = -1/2.

    It is that of Keys 1981 (doi:10.1109/TASSP.1981.1163711).
    """
    x, a = np.abs(x), -0.5
    inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
    outer = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


def tap_positions(kernel_size: int) -> np.ndarray:
    """Return rows and columns of the taps, counted from the center: ``[k, k, 2]``."""
    return centered(kernel_size, kernel_size)


def centered(height: int, width: int) -> np.ndarray:
    """Return rows and columns of pixels, counted from the center of the image: ``[H, W, 2]``."""
    return np.moveaxis(np.indices((height, width)), 0, -1) - (np.array([height, width]) - 1) / 2
