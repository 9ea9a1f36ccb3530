"""Lines of progress where there is no terminal to show a bar in: at least one every 30 seconds."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from .memory_use import memory_in_words
from .names import pluralize

Item = TypeVar("Item")

BAR = "{desc}{percentage:.0f} %|{bar}| {elapsed}, {remaining} left{postfix}"
"""The format of the bar of training. The postfix has the pace."""
EVERY = 30.0
"""The most seconds without a line."""
FEW = 5.0
"""The seconds that are too few to say that they are left."""


class ProgressLines:
    """Says how far something has come, from a thread of its own, so that there is a line however
    long a single step takes, or its compilation.

    Args:
        log: where lines go.
        total: how much there is to do.
        unit: what is counted.
        title: the first words of a line.
        active: False for none.
        memory: returns the memory that is taken, in words.
        clock: the time in seconds.
    """

    def __init__(
        self,
        log: Callable[[str], None],
        *,
        total: int,
        unit: str,
        title: str = "",
        active: bool = True,
        memory: Callable[[], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.log, self.total, self.unit, self.title = log, total, unit, title
        self.active, self._memory, self._clock = active, memory, clock
        self.done, self.text = 0, ""
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._last = clock()
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> "ProgressLines":
        if self.active:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self._ended.set()
        with self._lock:  # no line comes after this
            self.active = False

    def advance(self, count: int = 1, text: str = "") -> None:
        """Count what was done. The time of the first part is no measure for that of others: it is
        compiled."""
        self.done += count
        self.text = text
        if self._began is None:
            self._began = self._clock(), self.done

    def say(self, line: str) -> None:
        """Log a line of another kind that says how far it has come, with the memory and the time
        that is left, if that is long."""
        with self._lock:
            left = self.seconds_left
            words = [line, *self._memory_words()]
            words += [f"{duration(left)} left"] if left and left > FEW else []
            self.log(", ".join(words))
            self._last = self._clock()

    @property
    def seconds_left(self) -> float | None:
        """The time until all is done, if the rest goes as fast; None while that is not known."""
        if self._began is None:
            return None
        began, before = self._began
        passed, done = self._clock() - began, self.done - before
        return passed / done * (self.total - self.done) if done else None

    def tick(self) -> None:
        """Log a line if it is time for one."""
        with self._lock:
            if not self.active or self._clock() - self._last < EVERY:
                return
            words = [f"{self.title}: {self.done:,} of {pluralize(self.total, self.unit)}"]
            words += [self.text] if self.text else []
            words += self._memory_words()
            left = self.seconds_left
            words += [f"{duration(left)} left"] if left is not None else []
            self.log(", ".join(words))
            self._last = self._clock()

    def _memory_words(self) -> list[str]:
        return [self._memory()] if self._memory else []

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, EVERY)):
            self.tick()


def duration(seconds: float) -> str:
    """Return a time in words: in the unit that tells it in two digits or three."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class TrainingProgress:
    """The progress of training: a bar, or lines where there is no terminal.

    Args:
        log: where lines go.
        total: the steps of all epochs.
        done: those that were done before an interruption.
    """

    def __init__(self, log: Callable[[str], None], total: int, done: int):
        # disable=None: no bar where the output is not a terminal
        self.bar = tqdm(total=total, initial=done, unit="step", disable=None, bar_format=BAR)
        self.lines = ProgressLines(
            log, total=total, unit="step", active=self.bar.disable, memory=memory_in_words
        )
        self.lines.done, self.lines.text = done, "the first is compiled"

    def __enter__(self) -> "TrainingProgress":
        self.lines.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.lines.__exit__(*error)
        self.bar.close()

    def begin(self, title: str, text: str) -> None:
        """Begin an epoch: the title of its lines, and the text before the bar."""
        self.bar.set_description(text)
        self.lines.title = title

    def advance(self, steps: int, text: str) -> None:
        """Count steps, of which ``text`` says what was measured."""
        self.bar.update(steps)
        if not self.bar.disable:
            self.bar.set_postfix_str(f"{text}, {memory_in_words()}", refresh=False)
        self.lines.advance(steps, text)

    def end(self, line: str) -> None:
        """End an epoch with a line, where there is no bar."""
        if self.lines.active:
            self.lines.say(line)


class ImageBar:
    """The progress of reading images: a bar, or lines where there is no terminal.

    Args:
        total: the number of images.
        doing: what is done with them, for the user.
        log: where lines go.
    """

    def __init__(self, total: int, doing: str = "reading", log: Callable[[str], None] = print):
        self.bar = tqdm(total=total, unit="image", desc=doing, disable=None, leave=False)
        self.lines = ProgressLines(
            log, total=total, unit="image", title=doing, active=self.bar.disable
        )
        self._began = time.monotonic()

    def __enter__(self) -> "ImageBar":
        self.lines.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.lines.__exit__(*error)
        self.bar.close()

    def update(self, count: int = 1) -> None:
        """Count images."""
        self.bar.update(count)
        rate = (self.lines.done + count) / max(1e-9, time.monotonic() - self._began)
        self.lines.advance(count, f"{rate:,.0f} images/s")


def shown(items: Iterable[Item], count: int, title: str | None) -> Iterator[Item]:
    """Yield the items, behind a progress bar if they have a title and the output is a terminal; if
    it is none, with lines."""
    bar = tqdm(items, title, count, unit="batch", disable=title is None or None, leave=False)
    active = title is not None and bar.disable
    with ProgressLines(print, total=count, unit="batch", title=title or "", active=active) as lines:
        for item in bar:
            yield item
            lines.advance()
