"""``python -m train --resume RUN``: a run goes on, from its last checkpoint or with more epochs."""

from dataclasses import dataclass
from pathlib import Path

from .. import loop
from ..config import DATA_PLACES
from ..run_folder.folder import Run
from ..seeds import is_seeds, resume_seeds, summary
from .compare_plain import is_comparison, resume_compare_plain
from .digits import is_digits, resume_digits


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Continue a run that was interrupted, or add epochs to one."""

    resume: Path
    """The run folder."""
    epochs: int | None = None
    """Train to this epoch instead of the one that the run was started with."""
    data: Path | None = None
    """The folder or CSV file of your own images, if it has moved."""
    raw_dir: Path | None = None
    """The folder of the original files of the data set, if it has moved."""
    data_dir: Path | None = None
    """The folder of the prepared data set, if it is not the one of the run."""


def resume(options: Resume, preset: str | None) -> None:
    """Continue a run, several seeds of one, a comparison with plain networks, or the main job.

    ``preset`` is the word before ``--resume``, if there was one. ValueError if the run did not
    begin as it, or if it cannot have an option.
    """
    places = {name: getattr(options, name) for name in DATA_PLACES}
    if is_digits(options.resume):
        if preset not in (None, "digits"):
            raise ValueError(f"{options.resume} began as preset digits, not {preset}")
        if options.epochs is not None:
            raise ValueError("`epochs` of the main job cannot be changed; resume one of its runs")
        if any(places.values()):
            given = [f"--{n.replace('_', '-')}" for n, place in places.items() if place]
            raise ValueError(f"the main job reads no files: leave out {', '.join(given)}")
        resume_digits(options.resume)
        return
    if is_comparison(options.resume):
        if options.epochs is not None:
            raise ValueError("`epochs` of a comparison cannot be changed; resume one of its runs")
        resume_compare_plain(options.resume, **places)
        return
    if is_seeds(options.resume):
        print(summary(resume_seeds(options.resume, epochs=options.epochs, **places)))
        return
    run = Run.open(options.resume)
    if preset not in (None, run.config.preset):
        raise ValueError(f"{options.resume} began as preset {run.config.preset}, not {preset}")
    loop.resume(options.resume, epochs=options.epochs, **places)
