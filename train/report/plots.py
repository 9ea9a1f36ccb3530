"""The pictures of a report. Drawn with matplotlib's own objects: no global state, no display."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .shown_channels import projected, shown_channels

COLORS = (
    "#1f6fb4", "#d1495b", "#3a7d44", "#8d6a9f", "#e08e1b",
    "#17a2a2", "#8c564b", "#d76fb0", "#5c636b", "#a3a300",
)  # fmt: skip
MOST_CLASSES = 10
"""Curves in one picture: as many as there are colors."""


def learning_curves(runs: dict[str, list[dict]], path: Path) -> None:
    """Draw loss and error against epochs; ``runs`` maps a name to its records, of which the first
    epoch has none before its end."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss, error = figure.subplots(1, 2)
    for color, (name, records) in _colored(runs):
        epochs = [r["epoch"] for r in records]
        # A line from one point to nowhere would not be seen.
        style: dict = {"color": color, "marker": "." if len(records) < 30 else None}
        loss.plot(epochs, [r["train_loss"] for r in records], label=name, **style)
        values = [100 * r["train_error"] for r in records]
        error.plot(epochs, values, label=f"{name}, training", **style)
        held_out = [r for r in records if "validation_error" in r]
        if held_out:
            epochs = [r["epoch"] for r in held_out]
            values = [100 * r["validation_error"] for r in held_out]
            label = f"{name}, validation"
            style |= {"linestyle": "--", "marker": "x", "markersize": 4}
            error.plot(epochs, values, label=label, **style)
    losses = [r["train_loss"] for records in runs.values() for r in records]
    loss.set(xlabel="epoch", ylabel="training loss")
    if losses and max(losses) > 10 * min(losses) > 0:
        loss.set_yscale("log")
    else:
        loss.set_ylim(0, 1.05 * max(losses, default=1.0))
    error.set(xlabel="epoch", ylabel="error (%)", ylim=(0, 1.05 * error.get_ylim()[1]))
    longest = max((len(records) for records in runs.values()), default=1)
    for axes in (loss, error):
        if longest <= 1:
            axes.set_xlim(0, 2)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(figure, [loss, error], path)


def accuracy_against_angle(runs: dict[str, dict], path: Path) -> None:
    """Accuracy on test images that are turned further; ``runs`` maps a name to its results."""
    many = len(runs) > 4  # their legend would hide curves
    figure = Figure(figsize=(9 if many else 6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for color, (name, results) in _colored(runs):
        values = [100 * a for a in results["accuracy_at_angle"]]
        axes.plot(results["angles"], values, color=color, label=name, marker=".")
    # At least ten points high: a few images more or less are not a landscape.
    lowest = min(100 * min(results["accuracy_at_angle"]) for results in runs.values())
    axes.set(xlabel="further rotation (degrees)", ylabel="accuracy (%)", xlim=(0, 360))
    axes.set_ylim(min(90, 10 * (lowest // 10)), 100)
    axes.set_xticks(range(0, 361, 45))
    finish(figure, [axes], path, outside=many)


def accuracy_at_quarter_turns(runs: dict[str, dict], path: Path) -> None:
    """Accuracy on test volumes that are turned about each axis; ``runs`` maps a name to its
    results."""
    axis_names = list(next(iter(runs.values()))["accuracy_at_quarter_turn"])
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    every = figure.subplots(1, len(axis_names), sharey=True)
    lowest = 100.0
    for axes, axis in zip(every, axis_names, strict=True):
        for color, (name, results) in _colored(runs):
            values = [100 * a for a in results["accuracy_at_quarter_turn"][axis]]
            lowest = min(lowest, *values)
            label = name if axes is every[0] else None
            axes.plot(results["quarter_turns"], values, color=color, label=label, marker="o")
        axes.set(xlabel=f"turned about {axis} (degrees)", xticks=range(0, 271, 90))
    every[0].set(ylabel="accuracy (%)", ylim=(min(90, 10 * (lowest // 10)), 101))
    finish(figure, list(every), path)


def invariance_against_angle(runs: dict[str, dict], path: Path) -> None:
    """The invariance error when test images are turned, trained and as initialized."""
    figure = Figure(figsize=(6.4, 3.4 + 0.3 * len(runs)), layout="constrained")
    axes = figure.subplots()
    for color, (name, results) in _colored(runs):
        angles = results["angles"]
        values = results["invariance_error_at_angle"]
        axes.plot(angles, values, color=color, label=name, marker=".")
        before = results.get("invariance_error_at_angle_untrained")
        if before is not None:
            axes.plot(angles, before, color=color, label=f"{name}, untrained", linestyle=":")
    axes.set(xlabel="further rotation (degrees)", ylabel="invariance error", xlim=(0, 360))
    axes.set_ylim(0, None)
    axes.set_xticks(range(0, 361, 45))
    # The curves rise and fall everywhere: nothing inside is free.
    finish(figure, [axes], path, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def supports(layers: dict[str, dict], path: Path) -> None:
    """Draw the part of the group that each layer keeps: the sector of its angles, and the
    probabilities of discrete elements as bars beside it."""
    figure = Figure(figsize=(1.9 * len(layers), 2.4), layout="constrained")
    for i, (name, kept) in enumerate(layers.items()):
        theta, probabilities = kept.get("theta"), kept.get("probabilities", [])
        axes = figure.add_subplot(1, len(layers), i + 1, projection="polar")
        axes.set(theta_zero_location="N", yticks=[], ylim=(0, 1))
        axes.set_xticks(np.deg2rad([0, 90, 180, 270]), ["0°", "90°", "180°", "270°"], fontsize=7)
        below = []
        if theta is not None:
            axes.bar(0, 1, width=2 * np.pi * theta, color=COLORS[0], alpha=0.75)
            below.append(f"±{180 * theta:.0f}°")
        elif len(probabilities) == 1:  # of a mirroring: a disc as full as it is likely
            axes.bar(0, probabilities[0] ** 0.5, width=2 * np.pi, color=COLORS[1], alpha=0.75)
        if len(probabilities):
            below.append("p = " + ", ".join(f"{p:.2f}" for p in probabilities))
        axes.set_title(name, fontsize=8)
        axes.set_xlabel("\n".join(below), fontsize=8)
    figure.savefig(path, dpi=110)


def turning(
    image: np.ndarray, angles: list, probabilities: np.ndarray, names: Sequence, path: Path
) -> None:
    """Class probabilities ``[angle, class]`` of one image while it turns.

    Args:
        image: pictures of it at evenly spaced angles, ``[N, H, W, C]`` in [0, 1].
        angles: in degrees.
        probabilities: of all classes; the likeliest are shown.
        names: of the classes.
        path: the file to write.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    strip, axes = figure.subplots(2, 1, height_ratios=(1, 5))
    for picture, angle in zip(image, np.linspace(0, 360, len(image)), strict=True):
        extent = (angle - 17, angle + 17, 0, 1)  # over its place on the axis below
        strip.imshow(displayed(picture), cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto")
    strip.set(xlim=(-20, 380), ylim=(0, 1))
    strip.axis("off")
    largest = probabilities.max(0)
    order = [c for c in np.argsort(-largest, kind="stable") if largest[c] > 0.1]
    likely = sorted(order[:MOST_CLASSES])
    for color, c in zip(colors(len(likely)), likely, strict=True):
        axes.plot(
            angles,
            probabilities[:, c],
            color=color,
            label=f"class {short(names[c], 40)}",
            marker=".",
        )
    axes.set(xlabel="further rotation (degrees)", ylabel="probability", xlim=(-20, 380))
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(range(0, 361, 45))
    finish(figure, [axes], path)


def predictions(image: np.ndarray, label: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """Images, or the maxima of volumes along depth, with the predicted class; wrong ones in red
    with the true class beside it.

    ``label`` and ``predicted`` are names or numbers of classes, ``[N]``.
    """
    image = shown_channels(projected(image))
    columns = 8
    rows = -(-len(image) // columns)
    height, width = image.shape[1:3]
    gap = round(0.35 * height)
    picture = np.ones((rows * (height + gap), columns * (width + 2), 3))
    figure = Figure(figsize=(columns, 1.25 * rows), layout="constrained")
    axes = figure.subplots()  # one for all: an axes for each image takes seconds to lay out
    axes.axis("off")
    for i, (x, y, p) in enumerate(zip(image, label, predicted, strict=True)):
        top, left = i // columns * (height + gap) + gap, i % columns * (width + 2)
        picture[top : top + height, left : left + width] = stretched(x)
        title, color = short(p, 13), "black"
        if p != y:
            between = " " if len(f"{p}{y}") < 6 else "\n"  # a line each, if they are names
            title, color = f"{short(p, 13)}{between}(is {short(y, 8)})", "#c1121f"
        axes.text(
            left + width / 2, top - 0.05 * height, title, fontsize=9, color=color, ha="center"
        )
    axes.imshow(picture, interpolation="nearest")
    figure.savefig(path, dpi=110)


def filters(bank: np.ndarray, names: list[str], path: Path) -> None:
    """The first layer's filters ``[k, k, |G|, C]``: a row for each group element."""
    height, width, elements, channels = bank.shape
    picture = np.full((elements * (height + 1), channels * (width + 1)), np.nan)
    for g in range(elements):
        for c in range(channels):
            top, left = g * (height + 1), c * (width + 1)
            picture[top : top + height, left : left + width] = bank[:, :, g, c]
    figure = Figure(figsize=(0.7 * channels + 1, 0.75 * elements + 0.4), layout="constrained")
    axes = figure.subplots()
    largest = np.abs(bank).max()
    axes.imshow(picture, cmap="RdBu", vmin=-largest, vmax=largest, interpolation="nearest")
    axes.set_yticks([g * (height + 1) + (height - 1) / 2 for g in range(elements)], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=110)


def short(name, most: int) -> str:
    """Return a name for a picture: neither too long, nor read as mathematics."""
    name = str(name)
    return (name if len(name) <= most else f"{name[: most - 1]}…").replace("$", r"\$")


def both_ends(name: str, most: int) -> str:
    """Return a name for a picture, without its middle if it is long: names of classes and files
    often differ at one of their ends alone."""
    if len(name) > most:
        end = most // 2
        name = f"{name[: most - end - 1]}…{name[-end:]}"
    return short(name, most)


def stretched(image: np.ndarray) -> np.ndarray:
    """Return stored pixels in [0, 1]; numbers other than bytes from the least to the largest."""
    low, high = (0, 255) if image.dtype == np.uint8 else (image.min(), image.max() or 1)
    return (image - low) / (high - low or 1)


def displayed(image: np.ndarray) -> np.ndarray:
    """Pixels ``[H, W, C]`` in [0, 1] as matplotlib shows them: in color, or ``[H, W]``."""
    image = np.clip(shown_channels(image), 0, 1)
    return image if image.shape[-1] == 3 else image[..., 0]


def colors(count: int) -> Sequence:
    """Return so many colors, no two of them equal."""
    if count <= len(COLORS):
        return COLORS[:count]
    return [colormaps["turbo"](x) for x in np.linspace(0.05, 0.95, count)]


def _colored(runs: dict):
    """A color, a name that leaves room for the curves, and what it names, for each run."""
    names = [name if len(name) <= 40 else f"...{name[-37:]}" for name in runs]
    return zip(colors(len(runs)), zip(names, runs.values(), strict=True), strict=True)


def finish(
    figure: Figure, every: list[Axes], path: Path, *, outside: bool = False, **legend
) -> None:
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        # Runs of earlier versions lack some figures.
        if axes.get_legend_handles_labels()[0] and not outside:
            axes.legend(frameon=False, fontsize=8, **legend)
    if outside:
        figure.legend(loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
