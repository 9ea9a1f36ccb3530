"""The pictures of what a network makes of each class: confusions, calibration, single images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..run.class_figures import worst
from ..run.number_figures import shown_number
from .plots import COLORS, both_ends, colors, displayed, finish, stretched
from .shown_channels import projected

MOST_CURVES = 10
_NAME = 24
"""The most letters of the name of a class beside a picture."""
WRONG = "#c1121f"
LETTERS = 21
"""The letters in a line above an image."""


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix ``[true class, predicted class]`` of numbers of images; the color is
    the share of the images of the true class."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shown = [both_ends(name, _NAME) for name in names]
    longest = max(map(len, shown))
    digits = len(f"{counts.max()}")
    cell = max(0.36, 0.09 * digits + 0.1, 1.2 / len(names))
    side, margin = cell * len(names), 0.55 + 0.075 * longest
    figure = Figure(figsize=(side + margin, side + margin), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, count, ha="center", va="center", fontsize=8, color=color)
    places = range(len(names))
    if longest > 3:
        turned = {"rotation": 45 if longest <= 12 else 90, "rotation_mode": "anchor"}
        axes.set_xticks(places, shown, fontsize=8, ha="right", **turned)
        if longest > 12:
            axes.tick_params(axis="x", pad=7)
            for label in axes.get_xticklabels():
                label.set_verticalalignment("center")
    else:
        axes.set_xticks(places, shown, fontsize=8)
    axes.set_yticks(places, shown, fontsize=8)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="#d9dde2", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    figure.savefig(path, dpi=110)


def calibration(
    curve: dict,
    path: Path,
    *,
    right: str = "accuracy (%)",
    said: str = "probability of the predicted class (%)",
    counted: str = "images",
) -> None:
    """Draw a curve of `train.run.class_figures.calibration` above the number of images in each
    bin; on the diagonal a network is as often right as it says.

    Args:
        curve: the curve.
        path: the file to write.
        right: the words at its vertical axis.
        said: those at its horizontal axis.
        counted: those at the axis of numbers.
    """
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = len(curve["images"])
    filled = [b for b in range(bins) if curve["images"][b]]
    confidence = [100 * curve["confidence"][b] for b in filled]
    accuracy = [100 * curve["accuracy"][b] for b in filled]
    above.plot([0, 100], [0, 100], color=COLORS[8], linestyle=":", label="perfectly calibrated")
    above.vlines(confidence, confidence, accuracy, color=COLORS[1], alpha=0.5)
    above.plot(confidence, accuracy, color=COLORS[0], marker="o", label="this network")
    above.set(ylabel=right, xlim=(0, 100), ylim=(-3, 103))
    left = 100 * np.arange(bins) / bins
    below.bar(left, curve["images"], width=100 / bins, align="edge", color=COLORS[0], alpha=0.75)
    below.set(xlabel=said, ylabel=counted)
    below.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    finish(figure, [above, below], path)


def recall_against_angle(results: dict, names: Sequence[str], path: Path) -> None:
    """Draw the recall of each class while test images turn, and the mean over the classes; of more
    than `MOST_CURVES` classes the mean and the lowest one."""
    means = results["class_mean_accuracy_at_angle"]
    by_class_against_angle(
        results["angles"], results["recall_at_angle"], means, names, "recall", path
    )


def by_class_against_angle(
    angles: Sequence[float],
    shares: Sequence[Sequence[float | None]],
    means: Sequence[float | None],
    names: Sequence[str],
    title: str,
    path: Path,
) -> None:
    """Draw a share of each class, ``[angle][class]``, and the mean over the classes, as
    `recall_against_angle` does."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    present = [c for c, value in enumerate(shares[0]) if value is not None]
    if len(present) <= MOST_CURVES:
        for color, c in zip(colors(len(present)), present, strict=True):
            values = [_in_percent(at_angle[c]) for at_angle in shares]
            axes.plot(angles, values, color=color, label=both_ends(names[c], _NAME), marker=".")
    else:
        values = [100 * (worst(at_angle) or 0.0) for at_angle in shares]
        label = f"the lowest of {len(present)} classes"
        axes.plot(angles, values, color=COLORS[1], label=label, marker=".")
    axes.plot(
        angles,
        [_in_percent(value) for value in means],
        color="black",
        label="mean of the classes",
        linestyle="--",
    )
    axes.set(xlabel="further rotation (degrees)", ylabel=f"{title} (%)", xlim=(0, 360))
    axes.set_ylim(-3, 103)
    axes.set_xticks(range(0, 361, 45))
    finish(figure, [axes], path, outside=True)


def _in_percent(share: float | None) -> float:
    return np.nan if share is None else 100 * share


def examples(image: np.ndarray, rows: Sequence[dict], names: Sequence[str], path: Path) -> None:
    """Draw test images with what they are and what the network says of them.

    Args:
        image: the images, ``[N, H, W, C]``.
        rows: of `train.run.examples.examples`, of `train.run.label_examples.label_examples`, or of
            `train.run.number_figures.largest_errors`, one for each.
        names: of the classes.
        path: the file to write.
    """
    image = projected(image)
    columns, (height, width) = 6, image.shape[1:3]
    lines, letters = -(-len(image) // columns), LETTERS
    across = max(height, width)
    gap, between = 0.5 * across, 0.12 * across
    figure = Figure(figsize=(9.6, 2.2 * lines), layout="constrained")
    axes = figure.subplots()  # one for all: an axes for each image takes seconds to lay out
    axes.axis("off")
    for i, (pixels, row) in enumerate(zip(image, rows, strict=True)):
        left = i % columns * (across + between)
        top = i // columns * (across + gap) + gap
        axes.imshow(
            displayed(stretched(pixels)), extent=(left, left + width, top + height, top),
            cmap="gray", vmin=0, vmax=1, interpolation="nearest",
        )  # fmt: skip
        right = row["true"] == row["predicted"]
        is_, said = _words(row, names)
        texts = (
            (file_label(row, letters), "#5c636b"),
            (is_, "black"),
            (said, "black" if right else WRONG),
        )
        for line, (text, color) in enumerate(texts):
            y = top - gap * (0.8 - 0.31 * line)
            axes.text(left, y, text, fontsize=8, color=color, ha="left", va="center")
    axes.set_xlim(0, columns * (across + between) - between)
    axes.set_ylim(lines * (across + gap), 0)
    figure.savefig(path, dpi=110)


def _words(row: dict, names: Sequence[str]) -> tuple[str, str]:
    """Return the truth and the answer on an image, on one of its labels, or on a number."""
    if isinstance(row["true"], list):
        k = row["target"]
        name = both_ends(names[k], LETTERS - 12)
        is_, said = shown_number(row["true"][k]), shown_number(row["predicted"][k])
        return f"{name} is {is_}", f"said {said}"
    share = f", {100 * row['probability']:.0f} %"
    if "class" in row:
        name, has = names[row["class"]], ("no", "has")[row["true"]]
        return f"{has} {both_ends(name, LETTERS - 4)}", f"said {share.strip(', ')}"
    name = both_ends(names[row["predicted"]], LETTERS - 5 - len(share))
    return f"is {both_ends(names[row['true']], LETTERS - 3)}", f"said {name}{share}"


def file_label(row: dict, most: int) -> str:
    """The last part of the name of a file, or the index of an image that has none."""
    if "file" not in row:
        return f"image {row['index']}"
    return both_ends(row["file"].rpartition("/")[2], most)
