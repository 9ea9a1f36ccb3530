"""``python -m train predict RUN``: image files to classes or numbers, on lines or in a file."""

import collections
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from ..data.given_files import given_files
from ..names import pluralize
from ..options.networks import Symmetry
from ..run.classify_files import Answer, answer_files, unread
from ..run.number_figures import shown_number
from ..run.prediction_file import prediction_file, require_predictions
from ..run.predictor import Predictor
from ..run.saved_predictor import open_predictor
from ..run_folder.saved_network import open_run
from ..steps.build_model import symmetry_of
from .predict_masks import predict_masks

TOP = 3
_NAMED = 10


@dataclass(frozen=True)
class Predict:
    """Classify image files with a run, or predict their numbers or masks; if it is not finished,
    with its newest checkpoint."""

    run: tyro.conf.Positional[Path]
    """The run folder, the folder of a saved network, or the name of a ready one."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files of any size, in formats of Pillow, FITS or .npy; of several frames, the first.
    They have the brightness, channels and ground of the training. A folder stands for all image
    files below it, and - for the paths that standard input lists, one a line."""
    output: Path | None = None
    """A .csv or .json file for the predicted class, or the predicted labels, and the probabilities
    of all classes, or the predicted numbers, in place of lines. It has a row for each image, those
    that cannot be read with an error. Of a network for masks it has the share of each class, and a
    new folder in its place gets the mask of each image, too."""
    top: int | None = None
    """The most probable classes on each line (default: 3); of several labels, all that are said."""
    symmetrize: Symmetry | None = None
    """Average the logits over all poses of each image under this symmetry."""
    ink: Literal["auto", "light", "dark"] = "auto"
    """The brightness of strokes, lighter or darker than the ground; auto looks at the border, and
    leaves images as they are for a network of colors or of your own images (--data)."""
    raw_dir: Path | None = None
    """The folder of the original files of the data set, if it is not that of the training; for a
    run that is not finished."""
    data: Path | None = None
    """The same of a folder or CSV file of your own images."""


def predict(options: Predict, log: Callable[[str], None] = print) -> np.ndarray:
    """Print the most probable classes of each image, or write all to a file; returns probabilities
    ``[N, classes]`` of the images that can be read, or numbers ``[N, targets]``, or the shares of
    the classes in masks.

    ValueError, after the answers for all others, names the files that cannot be read. If there is
    no other, no file is written.
    """
    top, output = TOP if options.top is None else options.top, options.output
    if top < 1:
        raise ValueError(f"`top` must be at least 1, got {top}")
    if output is not None and options.top is not None:
        raise ValueError(
            "`top` is for lines, and `output` has the probabilities of all classes: leave out --top"
        )
    run = open_run(options.run)
    if output is not None and output.suffix:  # a folder is for masks
        require_predictions(output, ())
    files = given_files(options.images, log)
    symmetry = symmetry_of(options.symmetrize)
    places = {"raw_dir": options.raw_dir, "data": options.data}
    network = open_predictor(run, log, symmetry=symmetry, **places)
    reading = network.reading
    if options.ink != "auto":
        reading = reading._replace(ink=options.ink)
    names = [network.name(label) for label in range(network.classes)]
    if (network.task.numbers or network.task.masks) and options.top is not None:
        what = "masks" if network.task.masks else "numbers"
        raise ValueError(f"`top` is for classes, and the network predicts {what}: leave it out")
    if network.task.masks:
        return predict_masks(network, files, options.images, output, reading, log)
    rows: list[np.ndarray] = []
    errors: list[str] = []
    with contextlib.ExitStack() as stack:
        if output is None:
            tell = _line_writer(network, top, log)
        else:
            require_predictions(output, names)
            tell = stack.enter_context(prediction_file(output, names, network.task))
        for answer in answer_files(
            network,
            files,
            network.batch_probabilities,
            reading=reading,
            shown=output is not None,
        ):
            tell(answer)
            if answer.row is None:
                errors.append(str(answer.error))
            else:
                rows.append(answer.row)
        if not rows:
            raise unread(errors, len(files), output and _NAMED)
    probabilities = np.stack(rows)
    if output is not None:
        told = _ranges if network.task.numbers else _counts
        log(f"{output}: {told(probabilities, names, network.task.several)}")
    if errors:
        raise unread(errors, len(files), output and _NAMED)
    return probabilities


def _line_writer(
    network: Predictor, top: int, log: Callable[[str], None]
) -> Callable[[Answer], None]:
    def write(answer: Answer) -> None:
        p = answer.row
        if p is not None and network.task.numbers:
            said = [f"{network.name(k)} {shown_number(value)}" for k, value in enumerate(p)]
            log(f"{answer.path}: {', '.join(said)}")
        elif p is not None:
            order = np.argsort(-p)
            best = [f"{network.name(c)} ({100 * p[c]:.1f} %)" for c in order]
            log(f"{answer.path}: {_several(best, p, top) if several else ', '.join(best[:top])}")

    several = network.task.several
    return write


def _several(best: list[str], p: np.ndarray, top: int) -> str:
    """Return all labels that an image is said to have, and the most probable ones of the others
    until there are as many as ``top``."""
    count = int((p > 0.5).sum())
    said, others = best[:count], best[count:top]
    return (", ".join(said) or "none") + (f"; not {', '.join(others)}" if others else "")


def _ranges(values: np.ndarray, names: list[str], several: bool) -> str:
    """How many images there are, and the range of each number."""
    found = [
        f"{name} from {shown_number(column.min())} to {shown_number(column.max())}"
        for name, column in zip(names, values.T, strict=True)
    ]
    more = [f"{len(found) - _NAMED} more numbers"] if len(found) > _NAMED else []
    return f"{pluralize(len(values), 'image')}: {', '.join(found[:_NAMED] + more)}"


def _counts(probabilities: np.ndarray, names: list[str], several: bool) -> str:
    """How many images there are, and of which classes most of them are said to be."""
    if several:
        said = probabilities > 0.5
        places = [*np.nonzero(said)[1].tolist(), *[len(names)] * int((~said.any(-1)).sum())]
        names = [*names, "none"]
    else:
        places = probabilities.argmax(-1).tolist()
    found = collections.Counter(places).most_common()
    shown = [f"{count:,} {names[label]}" for label, count in found[:_NAMED]]
    rest = sum(count for _, count in found[_NAMED:])
    shown += [f"{rest:,} of other classes"] if rest else []
    return f"{pluralize(len(probabilities), 'image')}: {', '.join(shown)}"
