"""The network of a run folder, ready to classify images."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import optax
from flax import nnx

from gconv_jax import FiniteGroup

from ..config import FOLDER
from ..data.mask_classes import MaskClasses
from ..data.reading import EARLIER, STROKES, Reading
from ..data.splits import Data
from ..data.whitening import WHITENING, Whitening
from ..run_folder.checkpoint import CorruptCheckpointError, load_tree
from ..run_folder.command_line import command
from ..run_folder.folder import Run
from ..run_folder.model_file import as_begun
from ..steps.augment import Prepare
from ..steps.build_model import build_model
from ..steps.step import Steps, TrainState
from ..steps.task import Task, said_classes, task_of_results
from .results import input_form
from .session import Session, prepare_session
from .snapshot import Snapshot


def as_it_stands(run: Run, log: Callable[[str], None] = print, **places: Path | None) -> Run:
    """A finished run as it is; of another one a snapshot at its newest checkpoint, which has
    results, too. ``places`` are where the files of its data set are now (`Run.config_at`).

    ValueError if it is not finished and has no checkpoint.
    """
    if isinstance(run, Snapshot) or run.results is not None:
        return run
    session = prepare_session(run.config_at(**places), run=run)
    return Snapshot(run, session, log)


def load_run(
    run: Run,
    raw_dir: Path | None = None,
    data: Path | None = None,
    *,
    symmetry: FiniteGroup | None = None,
    loaded: Data | None = None,
) -> tuple[Session, TrainState]:
    """The session and the state of a run as it stands (`as_it_stands`); its logits are averaged
    over the poses of the ``symmetry``, if one is given, and its data are not loaded again if they
    have been."""
    run = as_it_stands(run, raw_dir=raw_dir, data=data)
    if isinstance(run, Snapshot):
        return run.session, run.state
    config = run.config_at(raw_dir=raw_dir, data=data)
    session = prepare_session(config, run=run, finished=True, symmetry=symmetry, loaded=loaded)
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
class Predictor:
    """A network by itself, without its data: stored pixels to logits."""

    steps: Steps
    params: nnx.State
    stats: nnx.State
    shape: tuple[int, ...]
    classes: int
    whitening: Whitening | None = None
    names: tuple[str, ...] | None = None
    """The names of the classes, if they have any."""
    reading: Reading = STROKES
    """The way in which its files become pixels."""
    title: str = ""
    """The network in a table."""
    masks: MaskClasses | None = None
    """The classes of masks, if it predicts such."""

    @property
    def task(self) -> Task:
        """The meaning of its logits."""
        return self.steps.task

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.whitening is not None:
            image = self.whitening(image)
        return np.asarray(self._logits(self.params, self.stats, image))

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the probabilities ``[N, classes]`` of any number of images ``[H, W, C]``, or
        volumes ``[D, H, W, C]``."""
        parts = [np.empty((0, self.classes), np.float32)]
        size = min(len(images), BATCH)
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            parts.append(self.batch_probabilities(self.filled(batch, size))[: len(batch)])
        return np.concatenate(parts)

    def batch_probabilities(self, image: np.ndarray) -> np.ndarray:
        """Return the probabilities ``[N, classes]``, or those of pixels, of one batch ``[N, H, W,
        C]``."""
        return np.asarray(self.task.probabilities(self(image)))

    def batch_features(self, image: np.ndarray) -> np.ndarray:
        """Return the features of one batch, and the logits behind them: ``[N, F + classes]``,
        float32 (`train.steps.embedding`)."""
        if self.whitening is not None:
            image = self.whitening(image)
        return np.asarray(self._features(self.params, self.stats, image))

    # They are kept, since jax.jit of a bound method would be traced again for each batch.
    @functools.cached_property
    def _logits(self) -> Callable:
        return jax.jit(self.steps.logits)

    @functools.cached_property
    def _features(self) -> Callable:
        return jax.jit(self.steps.features)

    def filled(self, images: Sequence[np.ndarray], size: int) -> np.ndarray:
        """Return a batch of ``size`` images, black ones behind those that are given: a batch of
        another size would be compiled again."""
        batch = np.zeros((size, *self.shape), np.uint8)
        batch[: len(images)] = images
        return batch

    def name(self, label: int) -> str:
        """The name of a class, or its number."""
        return str(label) if self.names is None else self.names[label]

    def answer_names(self, answers: np.ndarray) -> list[str]:
        """Return what is said of one image (`Task.answers`): the name of its class, or those of its
        labels."""
        return [self.name(int(c)) for c in said_classes(answers)]


def load_predictor(
    run: Run,
    log: Callable[[str], None] = print,
    *,
    symmetry: FiniteGroup | None = None,
    **places: Path | None,
) -> Predictor:
    """The network of a run as it stands (`as_it_stands`); its logits are averaged over the poses of
    the ``symmetry``, if one is given."""
    run = as_it_stands(run, log, **places)
    snapshot = run if isinstance(run, Snapshot) else None
    form = input_form(snapshot.session) if snapshot else run.results["input"]
    shape = tuple(form["shape"])
    config = as_begun(run.config, run.path)
    form_of_images = {"classes": form["classes"], "in_features": shape[-1], "image_shape": shape}
    scale = np.asarray(form["scale"], np.float32) if "scale" in form else None
    task = task_of_results({"input": form})
    model = build_model(config, **form_of_images, scale=scale, vectors=task.vectors)
    prepare = Prepare(form["mean"], form["std"])
    steps = Steps(model, optax.identity(), prepare, symmetry=symmetry, task=task)
    if snapshot is not None:
        params, stats = snapshot.state.params, snapshot.state.stats
        whitening = snapshot.session.data.whitening
    else:
        params, stats = _load_model(run, steps.init())
        whitening = None
        if run.config.preprocess == "whiten":
            whitening = Whitening.load(run.path / WHITENING)
    names = tuple(form["names"]) if form.get("names") else None
    reading = EARLIER if run.config.dataset == FOLDER else STROKES
    if "reading" in form:
        reading = Reading.from_arguments(form["reading"])
    return Predictor(
        *(steps, params, stats, shape, form["classes"], whitening, names, reading),
        title=run.config.title,
        masks=MaskClasses(tuple(form["mask_values"]), names) if names and task.masks else None,
    )


BATCH = 64
