"""``python -m train predict RUN`` of a network for masks: files to masks and shares of classes."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..data.reading import Reading
from ..data.volumes import is_volume
from ..names import pluralize
from ..report.mask_pictures import mask_colors
from ..run.classify_files import Answer, answer_files, unread
from ..run.predicted_masks import (
    SHARES,
    mask_paths,
    restored,
    shares,
    sides_of,
    whole_folder,
    write_mask,
)
from ..run.prediction_file import prediction_file, require_predictions
from ..run.predictor import Predictor

_NAMED = 10


def predict_masks(
    network: Predictor,
    files: Sequence[Path],
    given: Sequence[Path],
    output: Path | None,
    reading: Reading,
    log: Callable[[str], None],
) -> np.ndarray:
    """Print the shares of the classes in each image, or write them to a table, or with the masks
    to a folder; returns the shares ``[N, classes]`` of the images that can be read.

    Args:
        network: a network for masks.
        files: the image files.
        given: the paths that these were named by.
        output: a ``.csv`` or ``.json`` file, or a folder for a mask of each image and a table.
        reading: how files become pixels.
        log: takes lines.

    Raises:
        ValueError: after all others, files cannot be read.
    """
    names = [network.name(c) for c in range(network.classes)]
    folder = output if output is not None and not output.suffix else None
    table = folder / SHARES if folder else output
    suffix, targets = ".npy" if is_volume(network.shape) else ".png", None
    if folder is not None:
        targets = mask_paths(files, given, folder, suffix)
    elif table is not None:
        require_predictions(table, names)
    rows, errors = [], []
    with contextlib.ExitStack() as stack:
        if folder is not None:
            stack.enter_context(whole_folder(folder))
        tell = _lines(names, log)
        if table is not None:
            tell = stack.enter_context(prediction_file(table, names, network.task))
        answers = answer_files(
            network,
            files,
            network.batch_probabilities,
            reading=reading,
            shown=output is not None,
        )
        for i, answer in enumerate(answers):
            if answer.row is None:
                errors.append(str(answer.error))
                tell(answer)
                continue
            label = restored(answer.row, sides_of(answer.path, network.shape))
            if targets is not None:
                write_mask(targets[i], label, network.masks, mask_colors(len(names)))
            rows.append(shares(label, len(names)))
            tell(answer._replace(row=rows[-1]))
        if not rows:
            raise unread(errors, len(files), output and _NAMED)
    found = np.stack(rows)
    if table is not None:
        means = [f"{name} {100 * s:.2f} %" for name, s in zip(names, found.mean(0), strict=True)]
        where = f"{folder}: masks, and {SHARES} with the shares of classes" if folder else table
        log(f"{where}: {pluralize(len(found), 'image')}: {', '.join(means[:_NAMED])}")
    if errors:
        raise unread(errors, len(files), output and _NAMED)
    return found


def _lines(names: Sequence[str], log: Callable[[str], None]) -> Callable[[Answer], None]:
    def tell(answer: Answer) -> None:
        if answer.row is not None:
            said = [f"{name} {100 * s:.2f} %" for name, s in zip(names, answer.row, strict=True)]
            log(f"{answer.path}: {', '.join(said)}")

    return tell
