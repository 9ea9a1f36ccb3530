"""The figures of numbers that are predicted: errors of each target in its own unit, and R^2.

A figure that the images do not define, such as R^2 where all have the same number, is None.
"""

from typing import Any

import numpy as np

from ..data.splits import Data
from ..data.vectors import Vectors
from .class_figures import class_names, mean
from .examples import EXAMPLES, file_names
from .vector_figures import vector_figures, vector_figures_at_angles, vector_lines

MOST_POINTS = 500
"""The first test images that are drawn."""


def relative_errors(values: np.ndarray, label: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The relative error of each image, ``[..., N]``: ``mean_k |y[k] - t[k]| / s[k]`` for the
    predicted numbers y, the right ones t and the deviations s of the training targets."""
    return (np.abs(np.asarray(values, np.float64) - label) / scale).mean(-1)


def number_figures(
    values: np.ndarray, label: np.ndarray, scale: np.ndarray, vectors: Vectors | None = None
) -> dict:
    """The figures of images by target, as plain numbers.

    Args:
        values: the predicted numbers, ``[N, targets]``.
        label: the right ones.
        scale: the standard deviations of the training targets, ``[targets]``.
        vectors: those that are components of vectors, if any are.

    Returns:
        ``by_target`` with a list for each figure: the mean absolute error ``mae``, the root mean
        square ``rmse``, the mean of predicted minus right numbers ``bias``, and ``r2``; ``r2``, the
        mean over the targets; ``error_deviation``, the standard deviation of the relative error
        over the images; and ``points``, the first numbers to draw. With vectors also those
        of `train.run.vector_figures.vector_figures`.
    """
    by_target = _by_target(values, label)
    return {
        "r2": mean(by_target["r2"]),
        "error_deviation": float(relative_errors(values, label, scale).std()),
        "by_target": by_target,
        "points": {"true": _plain(label[:MOST_POINTS]), "predicted": _plain(values[:MOST_POINTS])},
        **({} if vectors is None else vector_figures(values, label, vectors)),
    }


def number_figures_at_angles(
    values: np.ndarray, label: np.ndarray, scale: np.ndarray, vectors: Vectors | None = None
) -> dict:
    """The errors of images that were turned, ``[angles, N, targets]``: the relative error by angle,
    and the mean absolute error by angle and target. Vectors are turned back."""
    return {
        "error_at_angle": relative_errors(values, label, scale).mean(-1).tolist(),
        "mae_at_angle": np.abs(np.asarray(values, np.float64) - label).mean(1).tolist(),
        **({} if vectors is None else vector_figures_at_angles(values, label, vectors)),
    }


def largest_errors(
    values: np.ndarray, data: Data, scale: np.ndarray
) -> dict[str, list[dict[str, Any]]]:
    """The `EXAMPLES` test images with the largest relative errors, as ``largest_errors``, each with
    the ``target`` that is farthest off."""
    label, files = data.test.label, file_names(data)
    errors = relative_errors(values, label, scale)
    target = (np.abs(values - label) / scale).argmax(-1)
    return {
        "largest_errors": [
            {
                "index": int(i),
                **({"file": files[i]} if files else {}),
                "target": int(target[i]),
                "true": _plain(label[i]),
                "predicted": _plain(values[i]),
                "error": float(errors[i]),
            }
            for i in np.argsort(-errors, kind="stable")[:EXAMPLES]
        ]
    }


def number_lines(results: dict, most: int = 10) -> list[str]:
    """The lines for the user with the error of each target in its unit."""
    if "by_target" not in results:
        return []
    found = results["by_target"]
    rows = zip(class_names(results), found["mae"], found["rmse"], found["r2"], strict=True)
    lines = [
        f"{name}: mean absolute error {mae:.4g}, root mean square {rmse:.4g}, R2 {r2_text(r2)}"
        for name, mae, rmse, r2 in rows
    ]
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return lines[:most] + more + vector_lines(results)


def r2_text(value: float | None) -> str:
    """R^2 in words; a dash if it is not defined."""
    return "-" if value is None else f"{value:.3f}"


def shown_number(value: float) -> str:
    """A predicted number for people, with four digits."""
    return f"{value:.4g}"


def _by_target(values: np.ndarray, label: np.ndarray) -> dict[str, list]:
    errors = np.asarray(values, np.float64) - label
    squares, spread = np.square(errors).mean(0), np.asarray(label, np.float64).var(0)
    return {
        "mae": np.abs(errors).mean(0).tolist(),
        "rmse": np.sqrt(squares).tolist(),
        "bias": errors.mean(0).tolist(),
        "r2": [float(1 - s / v) if v > 0 else None for s, v in zip(squares, spread, strict=True)],
    }


def _plain(values: np.ndarray) -> list:
    return np.asarray(values, np.float32).astype(np.float64).round(6).tolist()
