"""The meter of an epoch: it collects the loss and error of every step, and the time."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from ..config import Config
from ..errors import diverged
from .seed_run import Part


class Meter:
    """Measures one epoch of one network or of several that are trained beside each other.

    Args:
        config: the configuration of the run.
        seeds: the seeds of all networks.
        running: the places of those that are not stopped; the others may diverge.
        steps_before: the steps of the epochs before this one.
        show: shows the progress: is told how many steps were done, and what was measured.
        parts: what was measured of the epoch before an interruption, of each network.
    """

    def __init__(
        self,
        config: Config,
        seeds: Sequence[int],
        running: Sequence[int],
        steps_before: int,
        show: Callable[[int, str], None],
        parts: list[Part] | None,
    ):
        self.config, self.seeds, self.running = config, seeds, list(running)
        self.steps_before, self._show = steps_before, show
        self._losses: list[np.ndarray] = []
        self._errors: list[np.ndarray] = []
        self._seconds_before = 0.0
        if parts is not None:
            self._losses = list(np.stack([part.loss for part in parts], -1))
            self._errors = list(np.stack([part.error for part in parts], -1))
            self._seconds_before = float(parts[0].seconds)
        self.first = len(self._losses)
        """The step of the epoch at which the measurement begins."""
        self._started = time.perf_counter()

    def read(self, metrics) -> None:
        """Take the metrics ``[k]`` or ``[k, seeds]`` of the next k steps.

        Raises:
            TrainingDivergedError: the loss of a running network is not finite.
        """
        steps = self.steps_before + len(self._losses)
        loss, error = (np.asarray(m, np.float64).reshape(-1, len(self.seeds)) for m in metrics)
        self._losses.extend(loss)
        self._errors.extend(error)
        self._require_finite(loss[:, self.running], steps)
        images = (len(self._losses) - self.first) * self.config.batch_size
        rate = images / (time.perf_counter() - self._started)
        self._show(len(loss), f"loss {self._losses[-1].mean():.4f}, {rate:,.0f} images/s")

    @property
    def seconds(self) -> float:
        """The time of one network: those trained beside it took their share."""
        taken = (time.perf_counter() - self._started) / len(self.seeds)
        return self._seconds_before + taken

    def part(self, which: int) -> Part:
        """Return what was measured so far of one network, for a checkpoint within the epoch."""
        measured = np.stack(self._losses)[:, which], np.stack(self._errors)[:, which], self.seconds
        return Part(*(np.asarray(m, np.float32) for m in measured))

    def records(self, epoch: int) -> list[dict]:
        """Return the record of the epoch for each network."""
        seconds, steps = self.seconds, len(self._losses)
        means = zip(np.mean(self._losses, 0), np.mean(self._errors, 0), strict=True)
        return [
            {
                "epoch": epoch,
                "step": self.steps_before + steps,
                "train_loss": float(loss),
                "train_error": float(error),
                "images_per_second": steps * self.config.batch_size / seconds,
                "seconds": seconds,
            }
            for loss, error in means
        ]

    def _require_finite(self, losses: np.ndarray, steps: int) -> None:
        bad = np.argwhere(~np.isfinite(losses))
        if bad.size:
            step, which = bad[0]
            seed = f" (seed {self.seeds[self.running[which]]})" if len(self.running) > 1 else ""
            text = f"the loss is {losses[step, which]}{seed}"
            raise diverged(text, steps + step + 1, self.config)
