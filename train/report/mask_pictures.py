"""The pictures of masks: images beside what they show and what is said of them, and Dice curves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..data.mask_classes import IGNORED
from .class_pictures import file_label
from .plots import both_ends, colors, displayed, stretched
from .shown_channels import projected

MOST_NAMES = 12
_COLUMNS = 3
_LETTERS = 26
_NAME = 24
_OPACITY = 0.55


def mask_colors(count: int) -> np.ndarray:
    """Return the color of each class, RGB in [0, 1] ``[count, 3]``; the first, which is the ground
    more often than not, is dark gray."""
    return np.array([to_rgb("#30363d"), *(to_rgb(c) for c in colors(max(count - 1, 1)))])[:count]


def beside(
    image: np.ndarray,
    true: np.ndarray,
    said: np.ndarray,
    titles: Sequence[str],
    names: Sequence[str],
    path: Path,
) -> None:
    """Draw images, their masks, and the masks that are said of them, three in a row for each.

    Args:
        image: ``[N, H, W, C]``, or volumes ``[N, D, H, W, C]``, of which the slice with most pixels
            of other classes than the first is drawn.
        true: the masks, ``[N, H, W]`` or ``[N, D, H, W]``; pixels without a class are white.
        said: what is predicted.
        titles: a line above each image.
        names: of the classes.
        path: the file to write.
    """
    if true.ndim == 4:
        depth = ((true != 0) & (true != IGNORED)).sum((2, 3)).argmax(-1)
        image, true, said = (a[np.arange(len(a)), depth] for a in (image, true, said))
    palette = mask_colors(len(names))
    lines, (height, width) = -(-len(image) // _COLUMNS), true.shape[1:]
    gap, between, apart = 0.22 * height, 0.04 * width, 0.3 * width
    group = 3 * width + 2 * between + apart
    figure = Figure(figsize=(10.2, 1.35 * lines + 0.5), layout="constrained")
    axes = figure.subplots()  # one for all: an axes for each image takes seconds to lay out
    axes.axis("off")
    image = projected(image)
    for i, title in enumerate(titles):
        left, top = i % _COLUMNS * group, i // _COLUMNS * (height + gap) + gap
        shown = displayed(stretched(image[i]))
        shown = np.repeat(shown[..., None], 3, -1) if shown.ndim == 2 else shown
        for k, label in enumerate((None, true[i], said[i])):
            pixels = shown
            if label is not None:
                color = palette[np.where(label == IGNORED, 0, label)]
                pixels = _OPACITY * color + (1 - _OPACITY) * shown
                pixels = np.where((label == IGNORED)[..., None], 1.0, pixels)
            x = left + k * (width + between)
            axes.imshow(
                pixels, extent=(x, x + width, top + height, top), vmin=0, vmax=1,
                interpolation="nearest",
            )  # fmt: skip
        axes.text(left, top - 0.35 * gap, title, fontsize=8, color="#5c636b", va="center")
    axes.set_xlim(0, _COLUMNS * group - apart)
    axes.set_ylim(lines * (height + gap), 0)
    patches = [
        Patch(color=color, label=both_ends(name, _NAME))
        for color, name in zip(palette[:MOST_NAMES], names, strict=False)
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def mask_title(row: dict) -> str:
    """Return the line above an image: its file, and its Dice."""
    share = f", Dice {100 * row['dice']:.0f} %"
    return file_label(row, _LETTERS - len(share)) + share
