"""The pictures of vectors: predicted against right directions and lengths, and the angular error
against the rotation angle."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..data.vectors import Vectors
from ..run.vector_figures import angles_between
from .plots import COLORS, both_ends, colors, finish

MOST_VECTORS = 4
_NAME = 24


def directions(found: dict, names: Sequence[str], vectors: Vectors, path: Path) -> None:
    """Draw two panels for each of the first vectors, from the first test images,
    ``found["predicted"]`` and ``found["true"]`` of ``[N][targets]``: directions and lengths.

    A direction in the plane is an angle, counter-clockwise from the right; in space, the angle
    between the predicted vector and the right one is shown.
    """
    true, predicted = np.asarray(found["true"]), np.asarray(found["predicted"])
    count = min(len(names), MOST_VECTORS)
    figure = Figure(figsize=(6.8, 3.2 * count), layout="constrained")
    panels = figure.subplots(count, 2, squeeze=False)
    between = angles_between(predicted, true, vectors)
    lengths = [vectors.lengths(values) for values in (true, predicted)]
    style = {"color": COLORS[0], "alpha": 0.6, "markersize": 4}
    for v, (direction, length) in enumerate(panels):
        name, places = both_ends(names[v], _NAME), vectors.places[v]
        if len(places) == 2:
            right, said = (_angle(values[:, list(places)]) for values in (true, predicted))
            # The turn by less than half a circle to it, so that a small error is a small distance.
            said = right + (said - right + 180) % 360 - 180
            direction.plot((-180, 180), (-180, 180), color="#9aa3ad", linewidth=1)
            direction.plot(right, said, ".", **style)
            direction.set(xlabel=f"{name}, right angle (degrees)", ylabel="predicted")
            direction.set_xticks(range(-180, 181, 90))
        else:
            known = between[:, v][~np.isnan(between[:, v])]
            direction.hist(known, bins=np.linspace(0, 180, 37).tolist(), color=COLORS[0])
            direction.set(xlabel=f"{name}, angular error (degrees)", ylabel="images")
        x, y = (of[:, v] for of in lengths)
        longest = max(x.max(), y.max())
        length.plot((0, longest), (0, longest), color="#9aa3ad", linewidth=1)
        length.plot(x, y, ".", **style)
        length.set(xlabel=f"{name}, right length", ylabel="predicted")
    figure.savefig(path, dpi=110)


def angle_error_against_angle(results: dict, names: Sequence[str], path: Path) -> None:
    """Draw the mean angular error of each of the first vectors against the rotation angle."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    count = min(len(names), MOST_VECTORS)
    # None, where no right vector has a direction, is a gap.
    errors = np.asarray(results["angle_error_at_angle"], float)
    for v, color in zip(range(count), colors(count), strict=True):
        label = both_ends(names[v], _NAME)
        axes.plot(results["angles"], errors[:, v], color=color, label=label, marker=".")
    axes.set(xlabel="further rotation (degrees)", ylabel="angular error (degrees)", xlim=(0, 360))
    axes.set_ylim(0, None)
    axes.set_xticks(range(0, 361, 45))
    finish(figure, [axes], path, outside=True)


def _angle(vector: np.ndarray) -> np.ndarray:
    """Return the angle of vectors ``[N, 2]`` along x and y, with y down."""
    return np.degrees(np.arctan2(-vector[:, 1], vector[:, 0]))
