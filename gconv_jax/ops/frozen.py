"""Read-only NumPy arrays, for tables that are computed once and shared by all who ask."""

import numpy as np


def freeze_array(array: np.ndarray) -> np.ndarray:
    """Return the array itself, which nobody can write to from now on.

    >>> import numpy as np
    >>> freeze_array(np.zeros(2))[0] = 1
    Traceback (most recent call last):
    ValueError: assignment destination is read-only
    """
    array.setflags(write=False)
    return array
