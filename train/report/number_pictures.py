"""The pictures of numbers: predicted against right ones, and errors against the angle."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .plots import COLORS, both_ends, colors, finish

MOST_TARGETS = 6
_MOST_CURVES = 10
_NAME = 24


def points(found: dict, names: Sequence[str], path: Path) -> None:
    """Draw predicted against right numbers, ``found["predicted"]`` and ``found["true"]`` of
    ``[N][targets]``, a panel for each of the first targets."""
    true, predicted = np.asarray(found["true"]), np.asarray(found["predicted"])
    count = min(len(names), MOST_TARGETS)
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.4 * columns, 3.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for k, axes in enumerate(panels):
        if k >= count:
            axes.axis("off")
            continue
        both = np.concatenate([true[:, k], predicted[:, k]])
        limits = both.min(), both.max()
        axes.plot(limits, limits, color="#9aa3ad", linewidth=1)
        axes.plot(true[:, k], predicted[:, k], ".", color=COLORS[0], alpha=0.6, markersize=4)
        axes.set(xlabel=f"{both_ends(names[k], _NAME)}, right", ylabel="predicted")
    figure.savefig(path, dpi=110)


def against_angle(results: dict, names: Sequence[str], path: Path) -> None:
    """Draw the mean absolute error of each target relative to its deviation over the training
    images, and the mean over the targets, against the angle."""
    angles, scale = results["angles"], np.asarray(results["input"]["scale"])
    errors = 100 * np.asarray(results["mae_at_angle"]) / scale
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    if len(names) <= _MOST_CURVES:
        for color, name, values in zip(colors(len(names)), names, errors.T, strict=True):
            axes.plot(angles, values, color=color, label=both_ends(name, _NAME), marker=".")
    if len(names) > 1:
        mean = 100 * np.asarray(results["error_at_angle"])
        axes.plot(angles, mean, color="black", label="mean of the targets", linestyle="--")
    axes.set(xlabel="further rotation (degrees)", ylabel="relative error (%)", xlim=(0, 360))
    axes.set_ylim(0, None)
    axes.set_xticks(range(0, 361, 45))
    finish(figure, [axes], path, outside=True)
