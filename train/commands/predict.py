"""Use a run: evaluate it again, or classify image files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from ..data.image_files import read_images
from ..run.predictor import load_predictor
from ..run_folder.folder import Run


@dataclass(frozen=True)
class Predict:
    """Classify image files with a run; if it is not finished, with its newest checkpoint."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files of any size, in formats of Pillow, FITS or .npy; of several frames, the first.
    They have the brightness, channels and ground of the training."""
    ink: Literal["auto", "light", "dark"] = "auto"
    """The brightness of strokes, lighter or darker than the ground; auto looks at the border, and
    leaves images as they are for a network of colors or of your own images (--data)."""
    raw_dir: Path | None = None
    """The folder of the original files of the data set, if it is not that of the training; for a
    run that is not finished."""
    data: Path | None = None
    """The same of a folder or CSV file of your own images."""


def predict(options: Predict, log: Callable[[str], None] = print) -> np.ndarray:
    """Print the most probable classes of each image; returns probabilities ``[N, classes]``.

    ValueError, after the answers for all others, names the files that cannot be read.
    """
    if not options.images:
        raise ValueError("`images` must name at least one image file")
    run = Run.open(options.run)
    network = load_predictor(run, log, raw_dir=options.raw_dir, data=options.data)
    reading = network.reading
    if options.ink != "auto":
        reading = reading._replace(ink=options.ink)
    found = list(read_images(options.images, network.shape, reading))
    images = [image for image in found if not isinstance(image, ValueError)]
    probabilities = network.probabilities(images)
    answers = iter(probabilities)
    for path, image in zip(options.images, found, strict=True):
        if not isinstance(image, ValueError):
            p = next(answers)
            best = np.argsort(-p)[:3]
            log(f"{path}: " + ", ".join(f"{network.name(c)} ({100 * p[c]:.1f} %)" for c in best))
    errors = [str(error) for error in found if isinstance(error, ValueError)]
    if len(errors) == 1:
        raise ValueError(errors[0])
    if errors:
        count = f"{len(errors)} of {len(found)} images could not be read"
        raise ValueError("\n  ".join([count, *errors]))
    return probabilities
