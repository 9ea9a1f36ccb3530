"""The picture of how far each filter of a relaxed network departs from the symmetry."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def departures(layers: dict[str, dict[str, float]], path: Path) -> None:
    """Draw the departure of each element in each layer: a row for a layer, a column for an element,
    and the numbers in the fields."""
    elements = list(next(iter(layers.values())))
    values = np.array([[layers[name][g] for g in elements] for name in layers])
    width, height = 1.6 + 0.62 * len(elements), 1.1 + 0.34 * len(layers)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    # At least a tenth: departures of rounding are no landscape.
    top = max(0.1, values.max(initial=0, where=np.isfinite(values)))
    shown = axes.imshow(values, cmap="magma_r", vmin=0, vmax=top, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        color = "white" if value > 0.55 * top else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(elements)), elements, fontsize=8)
    axes.set_yticks(range(len(layers)), list(layers), fontsize=8)
    axes.tick_params(length=0)
    axes.set_xlabel("group element")
    figure.colorbar(shown, ax=axes, label="relative departure")
    figure.savefig(path, dpi=110)
