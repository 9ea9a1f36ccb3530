"""What stored pixels stand for: numbers in [0, 1], and the sums of them."""

import numpy as np


def to_unit(image):
    """Pixels as float32 in [0, 1]; works on NumPy and on JAX arrays."""
    if image.dtype == np.uint8:
        return image.astype(np.float32) / np.float32(255)
    return image.astype(np.float32)


def pixel_sums(image: np.ndarray) -> np.ndarray:
    """Of each image ``[N, H, W, C]``: the number of its values, and the sums of them in [0, 1] and
    of their squares, float64 ``[N, 3]``."""
    size = int(np.prod(image.shape[1:]))
    if image.dtype == np.uint8:  # from how many there are of each value: no copy in floats
        values = to_unit(np.arange(256, dtype=np.uint8)).astype(np.float64)
        counts = (np.bincount(x.ravel(), minlength=256) for x in image)
        sums = [(size, of_image @ values, of_image @ values**2) for of_image in counts]
    else:
        rows = (x.astype(np.float64).ravel() for x in image)
        sums = [(size, row.sum(), row @ row) for row in rows]
    return np.asarray(sums).reshape(-1, 3)
