"""``python -m train report RUN``: the report of a run, written again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from train.compare import write_comparison
from train.digits import TITLE, is_digits, row_folders
from train.page import PAGE, write_page
from train.predict import as_it_stands, load_run
from train.report import write_report
from train.rundir import Run


@dataclass(frozen=True)
class Report:
    """Write the report of a run again: report.md, its pictures, and report.html with its slider;
    for example of a run of an earlier version, or of one that is not finished."""

    run: tyro.conf.Positional[Path]
    """The run folder, or that of the main job."""
    raw_dir: Path | None = None
    """Where the original files of the data set are, if not where they were in training."""
    data: Path | None = None
    """The same of a folder of your own images."""


def report(options: Report, say: Callable[[str], None] = print) -> None:
    """Write the report. ValueError names a run that is not finished and has no checkpoint."""
    several = is_digits(options.run)
    folders = [options.run]
    if several:
        folders = [path for path in row_folders(options.run) if (path / "config.json").is_file()]
    places = {"raw_dir": options.raw_dir, "data": options.data}
    runs = [as_it_stands(Run.open(folder), say, **places) for folder in folders]
    for run in runs:
        session, state = load_run(run, **places)
        for note in session.data.folder.notes if session.data.folder else ():
            say(note)
        write_report(session, state, run, run.results)
        write_page(session, state, run)
        say(f"report in {run.path / 'report.md'} and, with a slider, {PAGE}")
    if several:
        write_comparison(TITLE, runs, options.run, say)
