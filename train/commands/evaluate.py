"""``python -m train evaluate RUN``: the figures of a finished network, measured again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from gconv_jax import FiniteGroup

from ..data.labelled_folder import is_new_set
from ..data.provenance import read_record
from ..options.networks import Symmetry
from ..report.markdown import results_table
from ..run.figures import figure_lines, figures_of
from ..run.metrics import final_figures
from ..run.predictor import as_it_stands, load_run
from ..run.saved_predictor import open_predictor
from ..run.snapshot import Snapshot
from ..run_folder.saved_network import SavedNetwork, open_run
from ..steps.build_model import symmetry_of
from .new_set import evaluate_new_set


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a run again, or on new labelled images, and print its figures; if it is not
    finished, those of its newest checkpoint."""

    run: tyro.conf.Positional[Path]
    """The run folder, the folder of a saved network, or the name of a ready one."""
    split: Literal["test", "validation"] = "test"
    """validation: the images of the run that were held out, with --validation."""
    raw_dir: Path | None = None
    """The folder of the original files of the data set, if it is not that of the training."""
    data: Path | None = None
    """A folder or file of your own images: that of the training, if it was moved, or new ones with
    folders of some of the classes, or with those in test/. Of a file that has or lists test images,
    these alone are evaluated. It is a new set if none of the files that the run recorded is in it.
    A saved network has no images of its own, and needs them."""
    symmetrize: Symmetry | None = None
    """Average the logits over all poses of each image under this symmetry; for finished
    runs, and for new images."""


def evaluate(options: Evaluate, log: Callable[[str], None] = print) -> dict:
    """Print and return the figures of a run as it stands."""
    run, symmetry = open_run(options.run), symmetry_of(options.symmetrize)
    if isinstance(run, SavedNetwork):
        return _evaluate_saved(run, options, symmetry, log)
    if options.data is not None and is_new_set(run, options.data):
        if options.split != "test":
            raise ValueError(
                f"`split` {options.split} goes with the run's own images, and none of them is in "
                f"{options.data}: leave out --split"
            )
        network = open_predictor(run, log, raw_dir=options.raw_dir, symmetry=symmetry)
        return evaluate_new_set(read_record(run), network, options.data, log)
    run = as_it_stands(run, log, raw_dir=options.raw_dir, data=options.data)
    if symmetry is not None and isinstance(run, Snapshot):
        raise ValueError(f"`symmetrize` is for finished runs, and {run.path} is not")
    places = {"raw_dir": options.raw_dir, "data": options.data}
    session, state = load_run(run, **places, symmetry=symmetry)
    if session.data.folder is not None:
        for note in session.data.folder.notes:
            log(note)
    if options.split == "validation":
        if session.data.validation is None:
            if run.results["validation_images"]:
                raise ValueError(f"the validation images of {run.path} are gone")
            raise ValueError(f"{run.path} held out no validation images (validation=0)")
        held_out = session.data.validation
        figures, logits = session.trainer.evaluate_with_logits(state, held_out)
        name = session.task.error
        log(f"validation {name} {100 * figures['error']:.2f} %, loss {figures['loss']:.4f}")
        by_class = figures_of(session.task).by_class(logits, held_out.label)
        _log_classes(run.results | by_class, log)
        return figures | by_class
    if isinstance(run, Snapshot):
        log(results_table([run.results]))
        _log_classes(run.results, log)
        return run.results
    figures = final_figures(session, state)
    log(results_table([run.results | figures]))
    _log_classes(run.results | figures, log)
    return figures


def _evaluate_saved(
    saved: SavedNetwork,
    options: Evaluate,
    symmetry: FiniteGroup | None,
    log: Callable[[str], None],
) -> dict:
    """Print and return the figures of a saved network on new labelled images."""
    if options.data is None or options.split != "test":
        raise ValueError(
            f"`data` must name labelled images: {saved.path} is a saved network, without the "
            "images of its training"
        )
    network = open_predictor(saved, log, raw_dir=options.raw_dir, symmetry=symmetry)
    return evaluate_new_set(None, network, options.data, log)


def _log_classes(results: dict, log: Callable[[str], None]) -> None:
    for line in figure_lines(results):
        log(line)
