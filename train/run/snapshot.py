"""A run that is not finished, used as it stands at its newest checkpoint."""

import functools
from collections.abc import Callable

from ..run_folder.checkpoint import Moment
from ..run_folder.command_line import command
from ..run_folder.folder import Run
from .early_stopping import best_epoch, choice_in_words
from .metrics import more_figures, test_figures
from .report_parts import Parts
from .results import collect, network_to_use
from .seed_run import SeedRun
from .session import Session


class Snapshot(Run):
    """A run as it was at its newest whole checkpoint, with results as if it had ended there.

    The parameters are those that the run would keep at its end: of the best epoch so far with
    patience, else the latest, with re-estimated batch statistics.

    Raises:
        ValueError: there is no whole checkpoint yet; says how to go on.
    """

    def __init__(self, run: Run, session: Session, log: Callable[[str], None] = print):
        super().__init__(run.path)
        self.session = session
        found = SeedRun(session, run, 0).restore(session.steps.init(), log)
        if found is None:
            raise ValueError(
                f"{run.path} is not finished and has no checkpoint yet; continue it with "
                f"`{command('--resume', run.path)}`"
            )
        self.reached, progress = found
        self.selected = None
        if self.config.patience is not None:
            self.selected = best_epoch(self.metrics(), self.config.metric)
        best = None if self.selected is None else progress.best
        self.state = network_to_use(session, progress.state, best)
        used = f"{self.title}, with batch statistics, if any, re-estimated on the training images"
        if self.selected is not None:
            why = choice_in_words(self.config.metric, session.task.error)
            used = f"epoch {self.selected}, that of the {why} up to {self.title}"
        log(f"{run.path} is not finished: using {used}")

    @property
    def title(self) -> str:
        """The progress of the run, e.g. ``epoch 3 of 20``."""
        return progress_in_epochs(self.reached, self.config.epochs)

    def metrics(self) -> list[dict]:
        """The records of the epochs before the checkpoint."""
        return [r for r in super().metrics() if r["epoch"] <= self.reached.epoch]

    @functools.cached_property
    def results(self) -> dict:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The figures of now. They read the test images."""
        session, state = self.session, self.state
        made = more_figures(session, state, Parts("full"), untrained=session.steps.init)
        figures = test_figures(session, state) | made
        config, records = self.config, self.metrics()
        results = collect(self.session, config, self.state, records, self.selected, figures)
        model = f"{config.title} ({self.title})"
        return results | {"model": model, "unfinished": self.title}


def progress_in_epochs(reached: Moment, epochs: int) -> str:
    """A moment of a run of so many epochs."""
    within = f" and {reached.step:,} steps" if reached.step else ""
    return f"epoch {reached.epoch} of {epochs}{within}"
