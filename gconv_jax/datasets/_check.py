"""Check that arrays are what their file should hold; the messages name the file."""

import numpy as np


def check_shape(array: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    """`array`, if it has this shape.

    Raises:
      ValueError: it has another.
    """
    if array.shape != shape:
        raise ValueError(f"{where}: array of shape {array.shape} found, {shape} expected.")
    return array


def check_labels(labels: np.ndarray, classes: int, where: str) -> np.ndarray:
    """Unsigned `labels`, if all are below `classes`.

    Raises:
      ValueError: one is not.
    """
    if labels.max(initial=0) >= classes:
        raise ValueError(f"{where}: labels must be below {classes}, got {labels.max()}.")
    return labels
