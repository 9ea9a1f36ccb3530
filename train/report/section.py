"""A section of a report: its title, its text, a picture and a table."""

from typing import NamedTuple


class Section(NamedTuple):
    """A part of a report, with a picture, a table or both."""

    title: str
    text: str
    picture: str = ""
    """The name of its file in the run folder; empty for none."""
    alt: str = ""
    table: tuple[dict[str, str], ...] = ()
    """Rows of cells by column, below the picture."""
