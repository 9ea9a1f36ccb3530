"""The way in which the image files of a data set become pixels: found once, and kept in the run."""

import json
from typing import Any, Literal, NamedTuple

from ..run_folder.folder import Run

READING = "reading.json"  # in a run folder


class Reading(NamedTuple):
    """The arguments of `read_image` that are the same for all images of a data set.

    The fields are those of `gconv_jax.export.image_files.read_image` and of
    `gconv_jax.export.volume_files.read_volume`. The range is one for all
    channels, and so are the others.
    """

    ink: str = "light"
    range: tuple[float, float] | Literal["each"] | None = None
    """None in runs of earlier versions, which scaled each file by a range that they guessed."""
    depth: str = "any"
    ground: str | None = None
    block: int | None = None
    """The side of the blocks of voxels that become one; None of images."""

    def arguments(self) -> dict[str, Any]:
        """The arguments that say more than the defaults, and the ink, as plain values."""
        kept = {name: value for name, value in self._asdict().items() if value not in (None, "any")}
        return kept | ({"range": list(self.range)} if isinstance(self.range, tuple) else {})

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> "Reading":
        """The same from plain values; TypeError if there are others."""
        limits = arguments.get("range")
        return cls(**(arguments | ({"range": tuple(limits)} if isinstance(limits, list) else {})))


EARLIER = Reading()
"""The reading of one's own images before it was kept in the run."""
STROKES = Reading(ink="auto")
"""The reading of files for a network that was trained on a known data set."""


def read_reading(run: Run) -> Reading | None:
    """The reading that is kept in a run folder; None if there is none. ValueError names a damaged
    file."""
    path = run.path / READING
    if run.results is not None and "reading" in run.results["input"]:
        return Reading.from_arguments(run.results["input"]["reading"])
    if not path.is_file():
        return None
    try:
        return Reading.from_arguments(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def write_reading(run: Run, reading: Reading) -> None:
    """Keep the reading in a run that begins or goes on."""
    run.write_json(READING, reading.arguments())


def described(reading: Reading) -> str:
    """The reading in words, for a line of a report."""
    if reading.range is None or (reading.range == (0, 255) and reading.depth == "8"):
        return ""
    if reading.range == "each":
        return "brightness: each image by its own range"
    low, high = (number(limit) for limit in reading.range)
    return f"brightness: {low} to {high} become 0 to 255"


def number(value: float) -> str:
    """A brightness in words."""
    return f"{value:,.6g}"
