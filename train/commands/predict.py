"""Use a run: evaluate it again, or classify image files."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import optax
import tyro
from flax import nnx

from ..config import FOLDER
from ..data.image_files import read_images
from ..data.whitening import WHITENING, Whitening
from ..report.markdown import results_table
from ..run.metrics import final_figures
from ..run.results import input_form
from ..run.session import Session, prepare_session
from ..run.snapshot import Snapshot
from ..run_folder.checkpoint import CorruptCheckpointError, load_tree
from ..run_folder.command_line import command
from ..run_folder.folder import Run
from ..steps.augment import Prepare
from ..steps.build_model import build_model
from ..steps.step import Steps, TrainState

BATCH = 64


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a run again and print its figures; if it is not finished, those of its newest
    checkpoint."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    split: Literal["test", "validation"] = "test"
    """validation: the images that were held out, with --validation."""
    raw_dir: Path | None = None
    """Where the original files of the data set are, if not where they were in training."""
    data: Path | None = None
    """The same of a folder of your own images."""


@dataclass(frozen=True)
class Predict:
    """Classify image files with a run; if it is not finished, with its newest checkpoint."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files of any size and format that Pillow reads; of several frames, the first."""
    ink: Literal["auto", "light", "dark"] = "auto"
    """Whether the strokes are lighter or darker than the ground; auto looks at the border, and
    leaves images as they are for a network of colours or of your own images (--data)."""
    raw_dir: Path | None = None
    """Where the original files of the data set are, if not where they were in training; for a run
    that is not finished."""
    data: Path | None = None
    """The same of a folder of your own images."""


def evaluate(options: Evaluate, say: Callable[[str], None] = print) -> dict:
    """Print and return the figures of a run as it stands."""
    run = as_it_stands(Run.open(options.run), say, raw_dir=options.raw_dir, data=options.data)
    session, state = load_run(run, raw_dir=options.raw_dir, data=options.data)
    if session.data.folder is not None:
        for note in session.data.folder.notes:
            say(note)
    if options.split == "validation":
        if session.data.validation is None:
            if run.results["validation_images"]:
                raise ValueError(f"the validation images of {run.path} are gone")
            raise ValueError(f"{run.path} held out no validation images (validation=0)")
        figures = session.feed.evaluate(state, session.data.validation)
        say(f"validation error {100 * figures['error']:.2f} %, loss {figures['loss']:.4f}")
        return figures
    if isinstance(run, Snapshot):
        say(results_table([run.results]))
        return run.results
    figures = final_figures(session, state)
    say(results_table([run.results | figures]))
    return figures


def predict(options: Predict, say: Callable[[str], None] = print) -> np.ndarray:
    """Print the most probable classes of each image; returns probabilities ``[N, classes]``.

    ValueError, after the answers for all others, names the files that cannot be read.
    """
    if not options.images:
        raise ValueError("`images` must name at least one image file")
    run = Run.open(options.run)
    network = load_network(run, say, raw_dir=options.raw_dir, data=options.data)
    ink = network.ink if options.ink == "auto" else options.ink
    found = list(read_images(options.images, network.shape, ink))
    images = [image for image in found if not isinstance(image, ValueError)]
    probabilities = network.probabilities(images)
    answers = iter(probabilities)
    for path, image in zip(options.images, found, strict=True):
        if not isinstance(image, ValueError):
            p = next(answers)
            best = np.argsort(-p)[:3]
            say(f"{path}: " + ", ".join(f"{network.name(c)} ({100 * p[c]:.1f} %)" for c in best))
    errors = [str(error) for error in found if isinstance(error, ValueError)]
    if len(errors) == 1:
        raise ValueError(errors[0])
    if errors:
        count = f"{len(errors)} of {len(found)} images could not be read"
        raise ValueError("\n  ".join([count, *errors]))
    return probabilities


def as_it_stands(run: Run, say: Callable[[str], None] = print, **places: Path | None) -> Run:
    """A finished run as it is; of another one a snapshot at its newest checkpoint, which has
    results, too. ``places`` are where the files of its data set are now (`Run.config_at`).

    ValueError if it is not finished and has no checkpoint.
    """
    if run.results is not None:
        return run
    session = prepare_session(run.config_at(**places), run=run)
    return Snapshot(run, session, say)


def load_run(
    run: Run, raw_dir: Path | None = None, data: Path | None = None
) -> tuple[Session, TrainState]:
    """The session and the state of a run as it stands (`as_it_stands`)."""
    run = as_it_stands(run, raw_dir=raw_dir, data=data)
    if isinstance(run, Snapshot):
        return run.session, run.state
    session = prepare_session(run.config_at(raw_dir=raw_dir, data=data), run=run, finished=True)
    state = session.steps.init()
    params, stats = _load_model(run, state)
    return session, dataclasses.replace(state, params=params, stats=stats, average=None)


def _load_model(run: Run, state: TrainState) -> tuple:
    """The parameters and the statistics of a finished run."""
    try:
        return load_tree(run.path / "model", (state.params, state.stats))
    except CorruptCheckpointError as error:
        raise ValueError(
            f"{run.path / 'model'} is damaged ({error}); remove {run.path / 'results.json'}, and "
            f"`{command('--resume', run.path)}` writes it again from the last checkpoint"
        ) from None


@dataclass(frozen=True)
class Network:
    """A network by itself, without its data: stored pixels to logits."""

    steps: Steps
    params: nnx.State
    stats: nnx.State
    shape: tuple[int, int, int]
    classes: int
    whitening: Whitening | None = None
    names: tuple[str, ...] | None = None
    """Of the classes, if they have any."""
    ink: str = "auto"
    """How `train.data.image_files.read_image` reads files for it."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.whitening is not None:
            image = self.whitening(image)
        return np.asarray(jax.jit(self.steps.logits)(self.params, self.stats, image))

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Of the classes, ``[N, classes]``, for any number of images ``[H, W, C]``."""
        parts = [np.empty((0, self.classes), np.float32)]
        size = min(len(images), BATCH)
        for start in range(0, len(images), BATCH):
            batch = np.stack(images[start : start + BATCH])
            # The last one is filled up: a batch of another size would be compiled again.
            full = np.concatenate([batch, np.zeros((size - len(batch), *self.shape), np.uint8)])
            logits = self(full)[: len(batch)]
            parts.append(np.asarray(jax.nn.softmax(logits.astype(np.float32))))
        return np.concatenate(parts)

    def name(self, label: int) -> str:
        """The name of a class, or its number."""
        return str(label) if self.names is None else self.names[label]


def load_network(run: Run, say: Callable[[str], None] = print, **places: Path | None) -> Network:
    """The network of a run as it stands (`as_it_stands`)."""
    run = as_it_stands(run, say, **places)
    snapshot = run if isinstance(run, Snapshot) else None
    form = input_form(snapshot.session) if snapshot else run.results["input"]
    shape = tuple(form["shape"])
    model = build_model(run.config, classes=form["classes"], in_features=shape[-1])
    steps = Steps(model, optax.identity(), Prepare(form["mean"], form["std"]))
    if snapshot is not None:
        params, stats = snapshot.state.params, snapshot.state.stats
        whitening = snapshot.session.data.whitening
    else:
        params, stats = _load_model(run, steps.init())
        whitening = None
        if run.config.preprocess == "whiten":
            whitening = Whitening.load(run.path / WHITENING)
    names = tuple(form["names"]) if form.get("names") else None
    ink = "light" if run.config.dataset == FOLDER else "auto"  # as they were in training
    return Network(steps, params, stats, shape, form["classes"], whitening, names, ink)
