"""The parts of a report: which of them are made, in which time, and what is said meanwhile."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from tqdm import tqdm

from ..run_folder.command_line import PROGRAM

Wanted = Literal["full", "quick", "table", "none"]
TITLES = {
    "elements": "invariance error",
    "angles": "accuracy against angle",
    "page": "slider that turns an input",
    "untrained": "invariance error before training",
}
"""The parts in order of importance, with what they show."""
WANTED: dict[Wanted, tuple[str, ...]] = {
    "full": tuple(TITLES),
    "quick": ("elements", "angles"),
    "table": ("elements",),
    "none": (),
}
NOT_OF_VOLUMES = "not for volumes"
"""The reason for which parts are left out that show images alone."""
NOT_OF_MASKS = "not for masks"
"""The reason for which parts are left out that show what is said of a whole image."""
LEAST_SECONDS = 60.0
"""A report may take this long, however short the training was."""


class Parts:
    """Decides which parts of a report are made, and shows how far they are.

    Args:
        wanted: ``full``, ``quick``, ``table`` for the figures of a table alone, or ``none``.
        seconds: the time that all parts together may take; None for as long as they need. A part
            that is expected to take more than what is left is left out as a whole.
        log: takes lines for the user, for each part one, where no progress bar can be shown.
    """

    def __init__(
        self,
        wanted: Wanted = "full",
        seconds: float | None = None,
        log: Callable[[str], None] = lambda line: None,
    ):
        self.wanted, self.seconds, self._say = wanted, seconds, log
        self.left_out = {part: "not asked for" for part in TITLES if part not in WANTED[wanted]}
        self.seconds_per_image: float | None = None
        """The pace of the network, once it has been measured."""
        self.seconds_to_compile = 0.0
        self._started = time.perf_counter()

    def has(self, part: str) -> bool:
        """Return whether a part is made, as far as that has been decided."""
        return part not in self.left_out

    def leave_out(self, parts: Iterable[str], reason: str) -> None:
        """Leave out some parts for a reason, unless they are left out already."""
        self.left_out = dict.fromkeys(parts, reason) | self.left_out

    def fit(self, images: dict[str, int], programs: dict[str, int]) -> None:
        """Leave out what does not fit into the time that is left, at the pace that was measured.

        Args:
            images: how many images pass through the network for each part.
            programs: how many new programs a part has to compile, if any.
        """
        left = None if self.seconds is None else self.seconds - self._spent()
        for part in filter(self.has, TITLES):
            if part not in images or left is None:
                continue
            expected = self.expected(images[part], programs.get(part, 0))
            if expected > left:
                self.left_out[part] = "no time"
            else:
                left -= expected

    def expected(self, images: int, programs: int = 0) -> float:
        """The seconds that so many images and compilations take, as far as that is known."""
        return images * (self.seconds_per_image or 0.0) + programs * self.seconds_to_compile

    @contextlib.contextmanager
    def making(
        self, part: str, images: int, programs: int = 0
    ) -> Iterator[Callable[[int], object]]:
        """Show the progress of a part; yields a function that takes how many images are done."""
        title = TITLES[part]
        # disable=None: no bar where the output is not a terminal
        with tqdm(total=images, unit="image", desc=title, disable=None, leave=False) as bar:
            if bar.disable:
                self._say(f"report: {title}, {images:,} images{self._about(images, programs)}")
            yield bar.update

    def _about(self, images: int, programs: int) -> str:
        if self.seconds_per_image is None:
            return ""
        return f", about {max(1.0, self.expected(images, programs)):.0f} s"

    def _spent(self) -> float:
        return time.perf_counter() - self._started


def left_out_sentence(left_out: dict[str, str]) -> str | None:
    """Return what a report says of the parts that it lacks; None if it has all of them."""
    if not left_out:
        return None
    parts = ", ".join(f"{TITLES[part]} ({left_out[part]})" for part in TITLES if part in left_out)
    if set(left_out.values()) <= {NOT_OF_VOLUMES, NOT_OF_MASKS}:
        return f"Left out: {parts}."
    return f"Left out: {parts}. `{PROGRAM} report` and the run folder adds them."
