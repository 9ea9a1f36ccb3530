"""One of the networks that a loop trains: its run folder, its checkpoints, and when it stops."""

import json
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tensorboardX import SummaryWriter

from ..run_folder.checkpoint import Checkpoints, Moment
from ..run_folder.folder import CHECKPOINTS, Run
from ..steps.step import TrainState
from .early_stopping import best_epoch, has_lost_patience
from .metrics import validation_figures
from .session import Session


class Part(NamedTuple):
    """The measurements of an epoch up to some step: NumPy arrays ``[step]``, and ``[]``."""

    loss: np.ndarray
    error: np.ndarray
    seconds: np.ndarray

    @classmethod
    def empty(cls, steps: int) -> "Part":
        shapes = (steps, steps, ())
        return cls(*(np.zeros(shape, np.float32) for shape in shapes))


class Progress(NamedTuple):
    """The content of a checkpoint for one network."""

    state: TrainState
    best: tuple | None
    """Parameters and statistics of the epoch with the best validation figure, with patience."""
    part: Part | None
    """The measurements of the epoch in whose middle the checkpoint is, if it is."""


class SeedRun:
    """One of the networks that are trained together: its run folder, and when it has to stop."""

    def __init__(self, session: Session, run: Run, which: int):
        self.session, self.config, self.run, self.which = session, session.config, run, which
        self.checkpoints = Checkpoints(
            run.path / CHECKPOINTS, about={"config": json.loads(run.config.to_json())}
        )
        self.best: tuple | None = None

    @property
    def stopped(self) -> bool:
        """True if the validation figure has not become better for ``patience`` epochs."""
        return self.config.patience is not None and has_lost_patience(
            self.run.metrics(), self.config.patience, self.config.metric
        )

    def restore(
        self, template: TrainState, log: Callable[[str], None], at_most: Moment | None = None
    ) -> tuple[Moment, Progress] | None:
        best = None if self.config.patience is None else (template.params, template.stats)

        def progress(moment: Moment) -> Progress:
            return Progress(template, best, Part.empty(moment.step) if moment.step else None)

        return self.checkpoints.restore(progress, warn=log, at_most=at_most)

    def save(self, moment: Moment, state: TrainState, part: Part | None = None) -> None:
        best = self.best
        if self.config.patience is not None and best is None:  # nothing was evaluated yet
            best = (state.weights, state.stats)
        self.checkpoints.save(moment, Progress(state, best, part))

    def record(self, record: dict, state: TrainState, writer: SummaryWriter) -> dict:
        """Add an epoch to the metrics, with the validation figures if they are due."""
        held_out = self.session.data.validation
        if held_out and record["epoch"] % self.config.evaluate_every == 0:
            calibrated = self.session.trainer.calibrate(state, self.which)
            figures = validation_figures(self.session, calibrated)
            record |= {f"validation_{name}": value for name, value in figures.items()}
            records = [*self.run.metrics(), record]
            best = best_epoch(records, self.config.metric)
            if self.config.patience is not None and best == record["epoch"]:
                # Copies, since the state will be donated to the next step.
                kept = (calibrated.weights, calibrated.stats)
                self.best = jax.tree.map(jnp.copy, kept)
        self.run.add_metrics(record)
        for name, value in record.items():
            writer.add_scalar(name, value, record["step"])
        return record
