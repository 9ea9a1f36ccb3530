"""``python -m train table NAME``: the rows of a published table, trained and put beside it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from ..config import FOLDER, Config
from ..errors import TrainingDivergedError
from ..recipes.published_tables import TABLES, PublishedTable, Row
from ..report.curves import curves
from ..report.fair_comparison import worst_accuracy
from ..report.markdown import (
    curve_sections,
    invariance_cells,
    markdown_table,
    mean_and_deviation,
)
from ..report.protocol import protocol
from ..run.invariance import checked, worst
from ..run_folder.folder import Run
from ..seeds import check_begun, seed_folder, train_seeds

Name = Literal[tuple(TABLES)]


@dataclass(frozen=True)
class Table:
    """Train every row of a published table and print it with the published figures beside ours.

    Rows that are finished are not run again, and an interrupted one goes on where it was, when the
    same command is given again.
    """

    name: tyro.conf.Positional[Name]  # pyright: ignore[reportInvalidTypeForm]
    """The name of the table."""
    rows: tuple[str, ...] = ()
    """Only these rows, by the names of their recipes (see ``list``)."""
    seeds: int = 1
    """Networks for each row, trained at once."""
    seed: int = 0
    """The first seed."""
    quick: bool = False
    """A small version of the same rows: fewer images and epochs, to see that it works."""
    epochs: int | None = None
    """Other than the recipe's."""
    dataset: str | None = None
    """Another data set of the same kind, e.g. cifar10/packed or rotated_mnist/larochelle2007."""
    data: Path | None = None
    """Your images or volumes, for own-images and own-volumes; in how-much-symmetry your copy of the
    steel surfaces, without which their rows are left out."""
    image_size: int | None = None
    """The side of your images in pixels, other than the recipe's."""
    raw_dir: Path | None = None
    """Build the data set from original files in this folder instead of downloading them."""
    data_dir: Path | None = None
    """The folder of prepared TFDS data sets (default: ~/tensorflow_datasets)."""
    parallel: Literal["auto", "jit", "pmap", "sharding"] = "auto"
    """As in training."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The dtype of computation; parameters stay float32."""
    report: Literal["full", "quick", "none"] = "full"
    """Reports of the single networks; as in training."""
    run: Path | None = None
    """The folder (default: runs/table-NAME, with -quick after it)."""


def table(options: Table, log: Callable[[str], None] = print) -> str:
    """Train what is not finished and write ``report.md`` and ``table.json``; returns the table.

    Raises:
        TrainingDivergedError: after the other rows, if one diverged.
    """
    published = TABLES[options.name]
    known = [row.preset for row in published.rows]
    if options.quick and published.quick_rows:
        known = list(published.quick_rows)
    known = _with_images(known, published, options, log)
    unknown = [name for name in options.rows if name not in known]
    if unknown:
        raise ValueError(f"`rows` of {options.name} are {', '.join(known)}; got {unknown[0]!r}")
    path = options.run or Path("runs") / f"table-{options.name}{'-quick' * options.quick}"
    rows = {row.preset: row for row in published.rows if row.preset in known}
    configs = {name: _config(rows[name], options) for name in options.rows or known}
    for name, config in configs.items():  # before hours are spent on the first
        check_begun(config, path / name)
    diverged = []
    Run(path).remove_leftovers()
    for name, config in configs.items():
        log(f"\n{name}, {options.seeds} seed{'s' * (options.seeds > 1)}")
        try:
            train_seeds(config, path / name, log)
        except TrainingDivergedError as error:
            log(f"{name}: {error}")
            diverged.append(name)
    runs = {name: _finished(path / name, options) for name in rows}
    runs = {name: row_runs for name, row_runs in runs.items() if row_runs}
    if not runs:
        raise TrainingDivergedError(f"no row of {options.name} was finished: {', '.join(diverged)}")
    written = _write(options, published, {rows[name]: runs[name] for name in runs}, path, log)
    if diverged:
        raise TrainingDivergedError(f"{', '.join(diverged)} diverged; the other rows are written")
    return written


def _with_images(
    known: list[str], published: PublishedTable, options: Table, log: Callable[[str], None]
) -> list[str]:
    """Return the rows whose images are at hand or can be fetched; the line says which are not."""
    own = {row.preset for row in published.rows if row.config.dataset == FOLDER}
    if options.data is not None:
        if not own:
            raise ValueError(f"`data` is for tables of your own images, not for {options.name}")
        return known
    if lacking := [name for name in options.rows if name in own]:
        raise ValueError(f"`rows` {lacking[0]} needs a copy of its images: add --data")
    if not set(known) - own:
        raise ValueError(f"`data` is missing: {options.name} is trained on your own images")
    if left_out := [name for name in known if name in own]:
        log(f"left out without --data, a copy of their images: {', '.join(left_out)}")
    return [name for name in known if name not in own]


def _finished(path: Path, options: Table) -> list[Run]:
    """The runs of a row, or none if one of its seeds is not finished."""
    folders = [seed_folder(path, options.seed + i) for i in range(options.seeds)]
    if not all((folder / "results.json").is_file() for folder in folders):
        return []
    return [Run.open(folder) for folder in folders]


def _config(row: Row, options: Table) -> Config:
    config = row.config
    if options.quick:
        config = TABLES[options.name].quick(config)
    changes = {
        "seeds": options.seeds,
        "seed": options.seed,
        "raw_dir": options.raw_dir,
        "data_dir": options.data_dir,
        "parallel": options.parallel,
        "dtype": options.dtype,
        "report": options.report,
    }
    if config.dataset == FOLDER:
        changes["data"] = options.data
        if options.image_size is not None:
            changes["image_size"] = options.image_size
    elif options.dataset is not None:
        changes["dataset"] = options.dataset
    if options.epochs is not None:
        # The schedule keeps its shape.
        scaled = {round(m * options.epochs / config.epochs) for m in config.milestones}
        milestones = tuple(sorted(m for m in scaled if 0 < m < options.epochs))
        changes |= {"epochs": options.epochs, "milestones": milestones}
        if not changes["milestones"] and config.milestones:
            changes["schedule"] = "constant"
    return dataclasses.replace(config, **changes)


def _write(
    options: Table, published: PublishedTable, runs: dict[Row, list[Run]], path: Path, log
) -> str:
    chosen = [
        max((run.results or {} for run in row_runs), key=_error) for row_runs in runs.values()
    ]
    errors = invariance_cells(chosen)
    own = all(row.config.dataset == FOLDER for row in runs)
    lines = [
        _line(row, row_runs, row_errors, own=own)
        for (row, row_runs), row_errors in zip(runs.items(), errors, strict=True)
    ]
    table = markdown_table(lines)
    notes = "\n\n".join(
        f"{row.preset}: {protocol(row_runs[0].config, row_runs[0].results, chosen)}"
        for row, row_runs in runs.items()
    )
    quick = (
        "This is the `--quick` version: fewer images and epochs than the recipe, smaller networks "
        "for CIFAR-10. It shows that the path works; its figures are not those of the table.\n\n"
        if options.quick
        else ""
    )
    first = {row.preset: row_runs[0] for row, row_runs in runs.items()}
    results = {name: run.results for name, run in first.items()}
    curves({name: run.metrics() for name, run in first.items()}, results, path)
    shown = "\n\n".join(f"![{s.alt}]({s.picture})" for s in curve_sections([*results.values()]))
    report = Run(path)
    report.write_json("table.json", {"name": options.name, "quick": options.quick, "rows": lines})
    report.write(
        "report.md",
        f"""# {published.title}

{quick}{table}

Test error in percent, mean ± standard deviation over the seeds. Time is for one network.

Published: {published.source}

{shown}

The pictures are of seed {options.seed}.

## Protocol

{notes}
""",
    )
    log(f"\n{table}\n\nReport with pictures: {path / 'report.md'}")
    return table


def _error(results: dict) -> float:
    """The largest invariance error of a network, to choose one of several seeds."""
    group = checked(results)
    error = None if group is None else worst(results, group, exact=True)
    return error or 0.0


def _line(row: Row, runs: list[Run], errors: dict[str, str], *, own: bool) -> dict[str, str]:
    results = [run.results for run in runs]
    seconds = np.mean([r["train_seconds"] for r in results])
    return {
        "recipe": row.preset,
        "parameters": f"{results[0]['parameters']:,}",
        "test error": mean_and_deviation([100 * r["test_error"] for r in results]),
        **(_of_classes(results) if own else {"published": row.published}),
        "seeds": str(len(runs)),
        "epochs": "-".join(str(e) for e in sorted({r["epochs"] for r in results})),
        **errors,
        "time": f"{seconds / 60:.1f} min",
    }


def _of_classes(results: list[dict]) -> dict[str, str]:
    """Return cells that stand where nothing is published: what classes of unequal size need, and
    images without an upright."""
    cells = {}
    for name, key in {"class-mean accuracy": "class_mean_accuracy", "AUC": "auc"}.items():
        values = [100 * r[key] for r in results if r.get(key) is not None]
        cells[name] = mean_and_deviation(values) if len(values) == len(results) else "-"
    return cells | {"worst accuracy over angles": worst_accuracy(results)}
