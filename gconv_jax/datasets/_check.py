"""Checks that arrays are what their file should hold; the messages name the file."""

import numpy as np


def check_shape(array: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Return ``array`` if it has this shape.

    Raises:
        ValueError: it has another shape.
    """
    if array.shape != shape:
        raise ValueError(f"{where}: array of shape {array.shape} found, {shape} expected")
    return array


def check_labels(labels: np.ndarray, classes: int, where: str) -> np.ndarray:
    """Return unsigned ``labels`` if all are below ``classes``.

    Raises:
        ValueError: a label is not below ``classes``.
    """
    if labels.max(initial=0) >= classes:
        raise ValueError(f"{where}: labels must be below {classes}, got {labels.max()}")
    return labels
