"""The numbers in [0, 1] that stored pixels stand for."""

import numpy as np


def to_unit(image):
    """Pixels as float32 in [0, 1]; works on NumPy and on JAX arrays."""
    if image.dtype == np.uint8:
        return image.astype(np.float32) / np.float32(255)
    return image.astype(np.float32)
