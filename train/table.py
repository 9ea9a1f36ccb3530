"""``python -m train table NAME``: the rows of a published table, trained and put beside it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from train import pictures
from train.config import Config
from train.loop import seed_folder, train_seeds
from train.report import markdown_table, protocol
from train.rundir import Run
from train.tables import TABLES, Row

Name = Literal[
    "rotmnist",
    "cifar10",
    "lenet-mnist",
    "early-equivariance",
    "early-equivariance-letters",
    "upright-to-rotated",
]


@dataclass(frozen=True)
class Table:
    """Train every row of a published table and print it with the published figures beside ours.

    Rows that are finished are not run again, and an interrupted one goes on where it was, when the
    same command is given again.
    """

    name: tyro.conf.Positional[Name]
    """Which table."""
    rows: tuple[str, ...] = ()
    """Only these rows, by the names of their recipes (python -m train list)."""
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
    raw_dir: Path | None = None
    """Build the data set from original files in this folder instead of downloading them."""
    data_dir: Path | None = None
    """Where prepared TFDS data sets are kept (default: ~/tensorflow_datasets)."""
    parallel: Literal["auto", "jit", "pmap"] = "auto"
    """As in training."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of computation; parameters stay float32."""
    run: Path | None = None
    """The folder (default: runs/table-NAME, with -quick after it)."""


def table(options: Table, say: Callable[[str], None] = print) -> str:
    """Train what is not finished and write ``report.md`` and ``table.json``; returns the table."""
    published = TABLES[options.name]
    known = [row.preset for row in published.rows]
    unknown = [name for name in options.rows if name not in known]
    if unknown:
        raise ValueError(f"`rows` of {options.name} are {', '.join(known)}; got {unknown[0]!r}")
    path = options.run or Path("runs") / f"table-{options.name}{'-quick' * options.quick}"
    rows = [row for row in published.rows if not options.rows or row.preset in options.rows]
    if options.quick and options.name == "cifar10" and not options.rows:
        rows = [row for row in rows if row.preset in QUICK_CIFAR10]
    configs = [_config(row, options) for row in rows]
    for row, config in zip(rows, configs, strict=True):
        say(f"\n{row.preset}, {options.seeds} seed{'s' * (options.seeds > 1)}")
        train_seeds(config, path / row.preset, say)
    return _write(options, published, rows, path, say)


QUICK_CIFAR10 = ("cifar10-resnet44-z2", "cifar10-resnet44-p4m")


def summary(runs: list[Run]) -> str:
    """The mean and the standard deviation of the test error over the seeds."""
    errors = [100 * run.results["test_error"] for run in runs]
    return f"test error {_mean(errors)} % over {len(errors)} seeds"


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
    }
    if options.dataset is not None:
        changes["dataset"] = options.dataset
    if options.epochs is not None:
        changes["epochs"] = options.epochs
    return dataclasses.replace(config, **changes)


def _write(options: Table, published, rows: list[Row], path: Path, say) -> str:
    seeds = range(options.seed, options.seed + options.seeds)
    runs = {
        row.preset: [Run.open(seed_folder(path / row.preset, seed)) for seed in seeds]
        for row in rows
    }
    lines = [_line(row, runs[row.preset]) for row in rows]
    table = markdown_table(lines)
    notes = "\n\n".join(
        f"{row.preset}: {protocol(runs[row.preset][0].config, runs[row.preset][0].results)}"
        for row in rows
    )
    quick = (
        "This is the `--quick` version: fewer images and epochs than the recipe, smaller networks "
        "for CIFAR-10. It shows that the path works; its figures are not those of the table.\n\n"
        if options.quick
        else ""
    )
    first = {name: of_row[0] for name, of_row in runs.items()}
    pictures.learning_curves(
        {name: run.metrics() for name, run in first.items()}, path / "learning_curves.png"
    )
    pictures.accuracy_against_angle(
        {name: run.results for name, run in first.items()}, path / "accuracy_against_angle.png"
    )
    report = Run(path)
    report.write_json("table.json", {"name": options.name, "quick": options.quick, "rows": lines})
    report.write(
        "report.md",
        f"""# {published.title}

{quick}{table}

Test error in percent, mean ± standard deviation over the seeds. Time is for one network.

Published: {published.source}

![loss and error against epochs](learning_curves.png)

![accuracy against angle](accuracy_against_angle.png)

Both pictures are of seed {options.seed}.

## Protocol

{notes}
""",
    )
    say(f"\n{table}\n\nReport with pictures: {path / 'report.md'}")
    return table


def _line(row: Row, runs: list[Run]) -> dict[str, str]:
    results = [run.results for run in runs]
    seconds = np.mean([r["train_seconds"] for r in results])
    return {
        "recipe": row.preset,
        "parameters": f"{results[0]['parameters']:,}",
        "test error": _mean([100 * r["test_error"] for r in results]),
        "published": row.published,
        "seeds": str(len(runs)),
        "epochs": "-".join(str(e) for e in sorted({r["epochs"] for r in results})),
        "equivariance error": f"{max(r['equivariance_error'] for r in results):.1e}",
        "time": f"{seconds / 60:.1f} min",
    }


def _mean(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
