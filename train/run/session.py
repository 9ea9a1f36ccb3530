"""A configuration made ready: data, model, optimizer, compiled steps."""

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from gconv_jax import FiniteGroup
from gconv_jax.models import LinenModel

from ..config import Config
from ..data.grain_loader import require_grain
from ..data.load import load_data
from ..data.splits import Data
from ..options.fine_tuning import require_matches
from ..options.networks import dimension_of
from ..run_folder.folder import Run
from ..run_folder.model_file import as_begun
from ..steps.augment import Prepare
from ..steps.build_model import build_model
from ..steps.loss import make_loss
from ..steps.optimizer import make_optimizer, temperature
from ..steps.parallel import Parallel, choose_parallel
from ..steps.penalties import make_penalty
from ..steps.starting_weights import StartingWeights, head_of, parameter_paths, start_from
from ..steps.step import Steps, TrainState
from ..steps.task import Task, task_of
from .agreement import require_agreement
from .initial_weights import has_weights, load_weights
from .trainer import Trainer


@dataclass(frozen=True)
class Session:
    """The parts that training, evaluation and prediction with one configuration need."""

    config: Config
    data: Data
    networks: tuple[Steps, ...]
    """One for each seed; they differ in their initial parameters alone."""
    trainer: Trainer

    @property
    def steps(self) -> Steps:
        """The steps of the first seed."""
        return self.networks[0]

    @property
    def task(self) -> Task:
        """The meaning of the logits."""
        return self.steps.task

    def init(self) -> TrainState:
        """The state before the first step, of all seeds (`Trainer.join`)."""
        return self.trainer.join([steps.init() for steps in self.networks])


def prepare_session(
    config: Config,
    seeds: tuple[int, ...] | None = None,
    *,
    run: Run | None = None,
    finished: bool = False,
    symmetry: FiniteGroup | None = None,
    loaded: Data | None = None,
    folders: Sequence[Path | None] = (),
    weights: StartingWeights | None = None,
) -> Session:
    """Load the data and build the rest, for ``config.seed`` or for several seeds at once.

    Args:
        config: what to train on what.
        seeds: those of the networks that are trained together.
        run: a run that goes on, or a ``finished`` one that is evaluated; see `load_data`.
        finished: whether the session only evaluates.
        symmetry: a group over whose poses logits are averaged in evaluation.
        loaded: the data, if they have been loaded before.
        folders: the run folders of the seeds, if they have begun; by default that of ``run``.
        weights: those that the configuration starts from, unless they are in the run folders.

    Raises:
        ValueError: the configuration does not fit the data or the devices.
    """
    seeds = (config.seed,) if seeds is None else seeds
    parallel = choose_parallel(config.parallel, config.batch_size)
    if config.loader == "grain":
        require_grain()  # before the images are looked through
    if symmetry is not None and dimension_of(config.model, config.group) != symmetry.dimension:
        raise ValueError(
            f"`symmetrize` {symmetry!r} is for images, and {config.title} takes volumes: leave it "
            "out"
        )
    folders = folders or [run.path if run else None] * len(seeds)
    data = load_data(config, run, finished=finished) if loaded is None else loaded
    if weights is not None:
        weights.require_images(data.train.image.shape[1:])
    require_agreement(config, data)
    if not finished:
        _require_objective(config, data)
    steps = len(data.train.label) // config.batch_size
    if not finished and config.checkpoint_steps is not None and config.checkpoint_steps >= steps:
        raise ValueError(
            f"`checkpoint_steps` {config.checkpoint_steps} must be below the {steps} steps of an "
            "epoch; there is a checkpoint after each epoch: leave it out"
        )
    built = config if run is None else as_begun(config, run.path)
    networks = tuple(
        _steps(dataclasses.replace(built, seed=seed), data, parallel, symmetry, weights, folder)
        for seed, folder in zip(seeds, folders, strict=True)
    )
    if run is None:
        _require_shape(networks[0], data)
    trainer = Trainer(
        networks[0],
        data.train,
        batch_size=config.batch_size,
        seeds=seeds,
        preprocess=data.whitening,
        parallel=parallel,
        loop="step" if config.checkpoint_steps else config.loop,
        memory=config.memory,
        workers=config.workers,
        sampling=config.sampling,
    )
    return Session(config, data, networks, trainer)


def _require_shape(steps: Steps, data: Data) -> None:
    """ValueError from the network if its images are too small for it; nothing is computed."""
    state = steps.init()
    image = jax.ShapeDtypeStruct((1, *data.test.image.shape[1:]), data.test.image.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training says the same
        try:
            jax.eval_shape(steps.logits, state.params, state.stats, image)
        except ValueError as error:
            if not steps.task.masks or "divisible" not in str(error):
                raise
            sides, least = data.test.image.shape[1:-1], 8
            fits = -(-max(sides) // least) * least
            raise ValueError(f"{error}; choose --image-size {fits}") from None


def _require_objective(config: Config, data: Data) -> None:
    """ValueError unless the labels define the sampling, and the validation images the metric that
    chooses the epoch."""
    # What is for classes of images alone is refused by the configuration.
    if data.scale is not None or data.test.label.ndim > 2:
        return
    several = task_of(data.test.label).several
    if several and config.sampling == "balanced":
        raise ValueError(
            "`sampling` balanced draws each class equally often, and these images have several "
            "labels: use --class-weights balanced"
        )
    if several and config.metric == "class-mean":
        raise ValueError(
            "`metric` class-mean is for images of one class, and these have several labels: use "
            "--metric auc, loss or accuracy"
        )
    held_out = data.validation
    if config.metric != "auc" or held_out is None:
        return
    count, label = len(held_out.label), held_out.label
    if several and not (label.any(0) & ~label.all(0)).any():
        raise ValueError(
            f"`metric` auc needs validation images with and without some label, and all {count} "
            "have the same: hold out more with --validation, or use another --metric"
        )
    if not several and len(np.unique(label)) < 2:
        raise ValueError(
            f"`metric` auc needs validation images of two classes at least, and all {count} are of "
            "one: hold out more with --validation, or use another --metric"
        )


def _steps(
    config: Config,
    data: Data,
    parallel: Parallel,
    symmetry: FiniteGroup | None,
    weights: StartingWeights | None,
    folder: Path | None,
) -> Steps:
    """Return the steps of one seed, which begin from the ``weights`` or from those in the run
    folder, if the configuration says so."""
    # None is left if the training images of a finished run are gone.
    steps_per_epoch = max(1, len(data.train.label) // config.batch_size)
    shape = data.train.image.shape[1:]

    def build(classes: int) -> nnx.Module:
        return build_model(
            config,
            classes=classes,
            in_features=shape[-1],
            image_shape=shape,
            scale=data.scale,
            center=data.center,
            vectors=data.vectors,
        )

    model, head = build(data.classes), frozenset()
    if config.init is not None:
        theirs = (weights.classes,) if weights else ()
        head = head_of(build, data.classes, data.classes + 1, *theirs)
        _require_parts(config, model, head)
        if not has_weights(folder):
            if weights is None:
                raise ValueError(
                    f"the weights of `init` {config.init} are missing"
                    + (f" in {folder}: --resume reads them again" if folder else "")
                )
            start_from(model, weights, head)
    steps = Steps(
        model,
        make_optimizer(config, steps_per_epoch, head),
        Prepare(data.mean, data.std, config.augment),
        parallel.axis_name,
        config.average,
        temperature(config, steps_per_epoch),
        make_penalty(config),
        symmetry,
        make_loss(config, data.train.label, data.classes, data.scale),
        task_of(data.test.label, data.scale, config.loss, data.vectors),
        config.freeze,
    )
    if config.init is not None and folder is not None and has_weights(folder):
        load_weights(folder, steps)
    return steps


def _require_parts(config: Config, model: nnx.Module, head: frozenset[str]) -> None:
    """Raise ValueError unless the network has the parts that are frozen, or have their own rate."""
    require_matches(config.freeze, parameter_paths(nnx.state(model, nnx.Param)))
    if config.freeze and isinstance(model, LinenModel):
        raise ValueError(
            f"`freeze` is for NNX modules, and {config.model} is a Linen module, whose batch "
            "statistics would go on changing: leave it out"
        )
    if config.head_rate != 1 and not head:
        raise ValueError(
            f"`head_rate` {config.head_rate:g}: {config.model} has no last layer whose shape "
            "depends on the number of classes"
        )
