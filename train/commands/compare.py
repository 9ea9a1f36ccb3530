"""Runs side by side: one table, their curves in one picture, one slider for all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from ..report.comparison import write_comparison
from ..run.predictor import as_it_stands
from ..run_folder.folder import Run


@dataclass(frozen=True)
class Compare:
    """Put runs side by side: a table, their curves in one picture, and a page with a slider that
    turns an input for all of them. Those that are not finished are shown at their newest
    checkpoint."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The run folders."""
    out: Path = Path("runs/comparison")
    """The folder for report.md, compare.html and the pictures."""


def compare(options: Compare, log: Callable[[str], None] = print) -> str:
    """Write the comparison of runs; returns the table. ValueError names a run that is not finished
    and has no checkpoint."""
    if not options.runs:
        raise ValueError("`runs` must name at least one run folder")
    runs = [as_it_stands(Run.open(p), log) for p in options.runs]
    return write_comparison("Comparison", runs, options.out, log, page_name="compare.html")
