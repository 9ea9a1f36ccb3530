"""The main job: Z2CNN beside P4CNN on the embedded digits, at equal parameter count."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..loop import resume, train
from ..recipes.presets import PRESETS
from ..report.comparison import write_comparison
from ..run_folder.command_line import resumable
from ..run_folder.folder import Run, default_path

TITLE = "Plain CNN and G-CNN on rotated digits"
ROWS = ("digits-z2cnn", "digits-p4cnn")


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Train Z2CNN and P4CNN beside each other on the rotated digits inside scikit-learn.

    No download; a few minutes on two CPU cores.
    """

    epochs: int = PRESETS[ROWS[0]][1].epochs
    """Passes over the training images."""
    seed: int = 0
    """The seed of initialization and order."""
    parallel: Literal["auto", "jit", "pmap", "sharding"] = "auto"
    """jit on one device, pmap over the local ones, sharding over those of all processes; auto: what
    fits."""
    report: Literal["full", "quick", "none"] = "full"
    """full: all of it, but for parts that would take longer than the training and than a minute;
    quick: table and curves; none: the test error."""
    run: Path | None = None
    """The run folder (default: runs/digits-DATE-TIME)."""


def digits(options: Digits, log: Callable[[str], None] = print) -> str:
    """Train both networks, each in a run folder below one folder, and compare them; returns the
    table. Called again with the same folder it continues where it was interrupted."""
    path = options.run or default_path("digits")
    log(f"run folder {path}")
    runs = []
    with resumable(path):
        Run(path).remove_leftovers()
        for folder, name in zip(row_folders(path), ROWS, strict=True):
            config = dataclasses.replace(
                PRESETS[name][1],
                epochs=options.epochs,
                seed=options.seed,
                parallel=options.parallel,
                report=options.report,
            )
            if not (folder / "config.json").is_file():
                runs.append(train(config, folder, log))
            elif Run.open(folder).began_as(config):
                runs.append(resume(folder, log=log))
            else:
                raise ValueError(f"{path} was begun with other options; name another --run")
        return write_comparison(TITLE, runs, path, log, again=False)


def resume_digits(path: Path, log: Callable[[str], None] = print) -> str:
    """Continue the main job in ``path``."""
    begun = next(f for f in row_folders(path) if (f / "config.json").is_file())
    config = Run.open(begun).config
    options = {name: getattr(config, name) for name in ("epochs", "seed", "parallel", "report")}
    return digits(Digits(**options, run=path), log)


def is_digits(path: Path) -> bool:
    """Return whether the main job was begun in ``path``."""
    return any((folder / "config.json").is_file() for folder in row_folders(path))


def row_folders(path: Path) -> list[Path]:
    return [path / name.removeprefix("digits-") for name in ROWS]
