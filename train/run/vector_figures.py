"""The figures of vectors that are predicted: errors of the direction in degrees, and of the length.

The direction of a vector of length 0 is not defined: images with such right vectors do not count.
A figure that no image defines is None.
"""

import numpy as np

from ..data.vectors import Vectors
from .class_figures import class_names, mean


def angles_between(values: np.ndarray, label: np.ndarray, vectors: Vectors) -> np.ndarray:
    """Return the angle between each predicted vector and the right one in degrees, from targets
    ``[..., targets]``: ``[..., vectors]``, NaN where the right one is 0, and 90 where the predicted
    one is."""
    found = []
    for places in map(list, vectors.places):
        u, v = (_unit(np.asarray(x, np.float64)[..., places]) for x in (values, label))
        # Exact for small angles, where a cosine is not.
        half = np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))
        found.append(np.where(v.any(-1), np.degrees(2 * half), np.nan))
    return np.stack(found, -1)


def vector_figures(values: np.ndarray, label: np.ndarray, vectors: Vectors) -> dict:
    """The figures of images by vector, as plain numbers.

    Args:
        values: the predicted numbers, ``[N, targets]``.
        label: the right ones.
        vectors: which of them are vectors.

    Returns:
        ``by_vector`` with a list for each figure: the mean angular error ``angle`` and its median
        ``median_angle``, in degrees; the mean absolute error of the length ``length``; the mean of
        predicted minus right lengths ``length_bias``; the mean length of the right vectors
        ``right_length``; and the mean length of the difference ``distance``. ``angle_error``, the
        mean over the vectors of the first.
    """
    angles = angles_between(values, label, vectors)
    lengths, right = vectors.lengths(values), vectors.lengths(label)
    found = {
        "angle": _means(angles),
        "median_angle": _means(angles, np.nanmedian),
        "length": np.abs(lengths - right).mean(0).tolist(),
        "length_bias": (lengths - right).mean(0).tolist(),
        "right_length": right.mean(0).tolist(),
        "distance": vectors.lengths(np.asarray(values, np.float64) - label).mean(0).tolist(),
    }
    return {"by_vector": found, "angle_error": mean(found["angle"])}


def vector_figures_at_angles(values: np.ndarray, label: np.ndarray, vectors: Vectors) -> dict:
    """The mean angular errors of images that were turned, by angle and vector, from numbers
    ``[angles, N, targets]`` whose vectors are turned back."""
    return {"angle_error_at_angle": [_means(a) for a in angles_between(values, label, vectors)]}


def vector_names(results: dict) -> list[str]:
    """The names of the vectors of a run: those of their components."""
    names = class_names(results)
    return [" ".join(names[k] for k in places) for places in results["input"]["vectors"]]


def vector_lines(results: dict) -> list[str]:
    """The lines for the user with the errors of each vector."""
    if "by_vector" not in results:
        return []
    found = results["by_vector"]
    rows = zip(vector_names(results), found["angle"], found["length"], found["right_length"],
               strict=True)  # fmt: skip
    return [
        f"vector {name}: mean angular error {degrees_text(angle)}, mean absolute error of the "
        f"length {length:.4g} of {right:.4g}"
        for name, angle, length, right in rows
    ]


def degrees_text(angle: float | None) -> str:
    """An angle in words; a dash if it is not defined."""
    return "-" if angle is None else f"{angle:.1f} degrees"


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.where(length > 0, length, 1)


def _means(angles: np.ndarray, reduce=np.nanmean) -> list[float | None]:
    """Return the mean over the images of each column ``[N, vectors]``, of those that have one."""
    return [None if np.isnan(column).all() else float(reduce(column)) for column in angles.T]
