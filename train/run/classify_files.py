"""The answers of a network for any number of image files, a batch at a time."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ..data.image_files import read_images
from ..data.reading import Reading
from .predictor import BATCH, Predictor

_NAMED = 10


class Answer(NamedTuple):
    """The answer for one file."""

    path: Any
    """The path, or the pixels that were given in its place."""
    row: np.ndarray | None
    """The row of the file in what was computed; None if it cannot be read."""
    error: str | None
    """The reason why the file cannot be read, if it cannot."""


def answer_files(
    network: Predictor,
    paths: Sequence[Any],
    compute: Callable[[np.ndarray], np.ndarray],
    *,
    reading: Reading | None = None,
    shown: bool = True,
) -> Iterator[Answer]:
    """Yield an answer for each file, in their order.

    Images are read and used batch by batch, so that memory holds a few of them however many there
    are.

    Args:
        network: the network whose kind of images they become.
        paths: the files.
        compute: a function of stored pixels ``[N, H, W, C]`` to rows ``[N, ...]``.
        reading: how files become pixels, if it is not the way of the network.
        shown: whether there is a progress bar, where the output is a terminal.
    """
    size = min(len(paths), BATCH)
    images = read_images(paths, network.shape, network.reading if reading is None else reading)
    disable = None if shown else True
    with tqdm(total=len(paths), unit="image", disable=disable, leave=False) as bar:
        pairs = zip(paths, images, strict=True)
        while batch := list(itertools.islice(pairs, size)):
            pixels = [image for _, image in batch if not isinstance(image, ValueError)]
            rows = iter(compute(network.filled(pixels, size)) if pixels else ())
            for path, image in batch:
                unread = isinstance(image, ValueError)
                yield Answer(path, None if unread else next(rows), str(image) if unread else None)
            bar.update(len(batch))


def unread(errors: Sequence[str], count: int, named: int | None = None) -> ValueError:
    """Return the error at the end of a command that could not read all of ``count`` files.

    Args:
        errors: one for each file that cannot be read.
        count: the number of all files.
        named: how many are in the message, if another place has them all.
    """
    if len(errors) == 1:
        return ValueError(errors[0])
    shown = list(errors if named is None else errors[:named])
    more = [f"and {len(errors) - len(shown):,} more"] if len(shown) < len(errors) else []
    first = f"{len(errors):,} of {count:,} images could not be read"
    return ValueError("\n  ".join([first, *shown, *more]))
