"""A configuration made ready: data, model, optimizer, compiled steps."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from gconv_jax import FiniteGroup

from ..config import Config
from ..data.grain_loader import require_grain
from ..data.load import load_data
from ..data.splits import Data
from ..options.networks import dimension_of
from ..run_folder.folder import Run
from ..steps.augment import Prepare
from ..steps.build_model import build_model
from ..steps.loss import make_loss
from ..steps.optimizer import make_optimizer, temperature
from ..steps.parallel import Parallel, choose_parallel
from ..steps.penalties import make_penalty
from ..steps.step import Steps, TrainState
from .agreement import require_agreement
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
) -> Session:
    """Load the data and build the rest, for ``config.seed`` or for several seeds at once.

    Args:
        config: what to train on what.
        seeds: those of the networks that are trained together.
        run: a run that goes on, or a ``finished`` one that is evaluated; see `load_data`.
        finished: whether the session only evaluates.
        symmetry: a group over whose poses logits are averaged in evaluation.
        loaded: the data, if they have been loaded before.

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
    data = load_data(config, run, finished=finished) if loaded is None else loaded
    require_agreement(config, data)
    if not finished:
        _require_metric(config, data)
    steps = len(data.train.label) // config.batch_size
    if not finished and config.checkpoint_steps is not None and config.checkpoint_steps >= steps:
        raise ValueError(
            f"`checkpoint_steps` {config.checkpoint_steps} must be below the {steps} steps of an "
            "epoch; there is a checkpoint after each epoch: leave it out"
        )
    networks = tuple(
        _steps(dataclasses.replace(config, seed=seed), data, parallel, symmetry) for seed in seeds
    )
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


def _require_metric(config: Config, data: Data) -> None:
    """ValueError unless the validation images define the metric that chooses the epoch."""
    held_out = data.validation
    if config.metric == "auc" and held_out is not None and len(np.unique(held_out.label)) < 2:
        raise ValueError(
            f"`metric` auc needs validation images of two classes at least, and all "
            f"{len(held_out.label)} are of one: hold out more with --validation, or use another "
            "--metric"
        )


def _steps(config: Config, data: Data, parallel: Parallel, symmetry: FiniteGroup | None) -> Steps:
    # None is left if the training images of a finished run are gone.
    steps_per_epoch = max(1, len(data.train.label) // config.batch_size)
    return Steps(
        build_model(config, classes=data.classes, in_features=data.train.image.shape[-1]),
        make_optimizer(config, steps_per_epoch),
        Prepare(data.mean, data.std, config.augment),
        parallel.axis_name,
        config.average,
        temperature(config, steps_per_epoch),
        make_penalty(config),
        symmetry,
        make_loss(config, data.train.label, data.classes),
    )
