"""Finished runs side by side: one table, their curves in one picture."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from train import pictures
from train.report import protocol, results_table
from train.rundir import Run


@dataclass(frozen=True)
class Compare:
    """Put finished runs side by side: a table, and their curves in one picture."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The run folders."""
    out: Path = Path("runs/comparison")
    """The folder for report.md and the pictures."""


def compare(options: Compare, say: Callable[[str], None] = print) -> str:
    """Write the comparison of finished runs; returns the table. ValueError names a run that is
    not finished."""
    if not options.runs:
        raise ValueError("`runs` must name at least one run folder")
    return write_comparison("Comparison", [Run.open(p) for p in options.runs], options.out, say)


def _folders(paths: list[Path]) -> list[str]:
    """The part of each path that the others do not share."""
    whole = [path.resolve() for path in paths]
    shared = os.path.commonpath([path.parent for path in whole])
    return [path.relative_to(shared).as_posix() for path in whole]


def write_comparison(title: str, runs: list[Run], out: Path, say: Callable[[str], None]) -> str:
    """Write ``report.md`` and its pictures into the folder ``out``; returns the table."""
    for run in runs:
        run.require_finished()
    names = [run.results["model"] for run in runs]
    if len(set(names)) < len(names):  # the same network twice: tell them apart by folder
        names = _folders([run.path for run in runs])
    if len(set(names)) < len(names):
        raise ValueError(f"`runs` must be different run folders, got {', '.join(names)}")
    out.mkdir(parents=True, exist_ok=True)
    records = {name: run.metrics() for name, run in zip(names, runs, strict=True)}
    results = {name: run.results for name, run in zip(names, runs, strict=True)}
    pictures.learning_curves(records, out / "learning_curves.png")
    pictures.accuracy_against_angle(results, out / "accuracy_against_angle.png")
    pictures.invariance_against_angle(results, out / "invariance_against_angle.png")
    table = results_table([r | {"model": name} for name, r in results.items()])
    protocols = "\n\n".join(
        f"{name}: {protocol(run.config, run.results)}"
        for name, run in zip(names, runs, strict=True)
    )
    Run(out).write(
        "report.md",
        f"""# {title}

{table}

![loss and error against epochs](learning_curves.png)

![accuracy against angle](accuracy_against_angle.png)

![invariance error against angle](invariance_against_angle.png)

## Protocol

{protocols}
""",
    )
    say(f"\n{table}\n\nReport with pictures: {out / 'report.md'}")
    return table
