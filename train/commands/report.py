"""``python -m train report RUN``: the report of a run, written again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from ..data.volumes import of_volumes
from ..report.comparison import write_comparison
from ..report.html_page import PAGE, write_page
from ..report.markdown import write_report
from ..run.metrics import more_figures, test_figures
from ..run.predictor import as_it_stands, load_run
from ..run.report_parts import NOT_OF_MASKS, NOT_OF_VOLUMES, Parts
from ..run.session import Session
from ..run.snapshot import Snapshot
from ..run_folder.folder import Run
from ..steps.step import TrainState
from .digits import TITLE, is_digits, row_folders


@dataclass(frozen=True)
class Report:
    """Write the report of a run again: report.md, its pictures, and report.html with its slider;
    for example of a run of an earlier version, or of one that is not finished."""

    run: tyro.conf.Positional[Path]
    """The run folder, or that of the main job."""
    raw_dir: Path | None = None
    """The folder of the original files of the data set, if it is not that of the training."""
    data: Path | None = None
    """The same of a folder or CSV file of your own images."""


def report(options: Report, log: Callable[[str], None] = print) -> None:
    """Write the report. ValueError names a run that is not finished and has no checkpoint."""
    several = is_digits(options.run)
    folders = [options.run]
    if several:
        folders = [path for path in row_folders(options.run) if (path / "config.json").is_file()]
    places = {"raw_dir": options.raw_dir, "data": options.data}
    runs = [as_it_stands(Run.open(folder), log, **places) for folder in folders]
    for run in runs:
        log(f"writing the report of {run.path} again")
        session, state = load_run(run, **places)
        for note in session.data.folder.notes if session.data.folder else ():
            log(note)
        if not isinstance(run, Snapshot):  # the figures of a snapshot are those of now
            _complete(session, state, run, log)
        write_report(session, state, run, run.results)
        parts = Parts("full", None, log)
        if of_volumes(run.results):
            parts.leave_out(("page",), NOT_OF_VOLUMES)
        elif session.task.masks:
            parts.leave_out(("page",), NOT_OF_MASKS)
        write_page(session, state, run, parts)
        slider = ", with a slider," if parts.has("page") else ""
        log(f"report in {run.path / 'report.md'} and{slider} {PAGE}")
    if several:
        write_comparison(TITLE, runs, options.run, log)


def _complete(session: Session, state: TrainState, run: Run, log: Callable[[str], None]) -> None:
    """Add to the results what was left out, and measure again what an earlier version measured
    otherwise."""
    results: dict = run.results or {}
    if "invariance_error_at_element" not in results:
        earlier_keys = ("equivariance_error", "equivariance_group", "angles", "accuracy_at_angle")
        earlier_keys += ("invariance_error_at_angle", "invariance_error_at_angle_untrained")
        earlier_keys += ("probabilities_at_angle",)
        results = {key: value for key, value in results.items() if key not in earlier_keys}
    if "by_class" not in results:
        results = test_figures(session, state) | results
    parts = Parts("full", None, log)
    results |= more_figures(session, state, parts, untrained=session.steps.init, known=results)
    results["left_out"] = parts.left_out
    if results != run.results:
        run.write_json("results.json", results)
