"""``python -m train features RUN``: image files to the numbers that the classes are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from ..data.given_files import given_files
from ..data.labels import SEPARATOR
from ..names import pluralize
from ..options.networks import Symmetry
from ..run.classify_files import answer_files, unread
from ..run.output_file import replaced, require_output
from ..run.saved_predictor import open_predictor
from ..run_folder.saved_network import open_run
from ..steps.build_model import symmetry_of


@dataclass(frozen=True)
class Features:
    """Write the features of image files: what the last layer of the network, that to the classes,
    is given, averaged over space and over the group. They are invariant where the layers before are
    equivariant, and are for searching, clustering, and classifiers of your own. Of a run that is
    not finished, its newest checkpoint."""

    run: tyro.conf.Positional[Path]
    """The run folder, the folder of a saved network, or the name of a ready one."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files, folders of them, or - for the paths that standard input lists; as in predict."""
    output: Path
    """The .npz file for the arrays: features [N, F] (float32), paths [N] and predicted [N], the
    names of classes; of several labels, separated by semicolons; of numbers, [N, targets]. Files
    that cannot be read are in none of them."""
    symmetrize: Symmetry | None = None
    """Average the features over all poses of each image under this symmetry, which makes those of
    any network invariant."""
    raw_dir: Path | None = None
    """The folder of the original files of the data set, if it is not that of the training; for a
    run that is not finished."""
    data: Path | None = None
    """The same of a folder of your own images."""


def features(options: Features, log: Callable[[str], None] = print) -> np.ndarray:
    """Write the features of the images that can be read, and return them, ``[N, F]``.

    ValueError, after that, names the files that cannot be read. If there is no other, or the
    network has no features, no file is written.
    """
    run = open_run(options.run)
    require_output(options.output, (".npz",))
    files = given_files(options.images, log)
    symmetry = symmetry_of(options.symmetrize)
    places = {"raw_dir": options.raw_dir, "data": options.data}
    network = open_predictor(run, log, symmetry=symmetry, **places)
    if network.task.masks:
        raise ValueError(
            f"`features` are of whole images, and {network.title} says the class of each pixel: "
            "predict writes its masks"
        )
    rows, paths, predicted, errors = [], [], [], []
    for answer in answer_files(network, files, network.batch_features):
        if answer.row is None:
            errors.append(str(answer.error))
            continue
        rows.append(answer.row[: -network.classes].copy())  # a view would keep the whole batch
        paths.append(str(answer.path))
        said = network.task.answers(answer.row[-network.classes :])
        names = said if network.task.numbers else SEPARATOR.join(network.answer_names(said))
        predicted.append(names)
    if not rows:
        raise unread(errors, len(files))
    found = np.stack(rows)
    with replaced(options.output) as beside, beside.open("wb") as file:
        np.savez(file, features=found, paths=np.array(paths), predicted=np.array(predicted))
    images = pluralize(len(found), "image")
    log(f"{options.output}: {pluralize(found.shape[1], 'feature')} of {images}")
    if errors:
        raise unread(errors, len(files))
    return found
