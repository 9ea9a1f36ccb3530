"""The main job: Z2CNN beside P4CNN on the embedded digits, at equal parameter count."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from train import pictures
from train.config import PRESETS
from train.loop import resume, train
from train.report import protocol, results_table
from train.rundir import Run, default_path

ROWS = ("digits-z2cnn", "digits-p4cnn")


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Train Z2CNN and P4CNN beside each other on the rotated digits inside scikit-learn.

    No download; a few minutes on two CPU cores.
    """

    epochs: int = PRESETS[ROWS[0]][1].epochs
    """Passes over the training images."""
    seed: int = 0
    """Of initialisation and order."""
    run: Path | None = None
    """The run folder (default: runs/digits-DATE-TIME)."""


def compare(options: Compare, say: Callable[[str], None] = print) -> list[dict]:
    """Train both networks into one folder, each in its own run folder below it, and write the
    table. Called again with the same folder it continues where it was killed."""
    path = options.run or default_path("digits")
    say(f"run folder {path}")
    finished = []
    for name in ROWS:
        config = dataclasses.replace(PRESETS[name][1], epochs=options.epochs, seed=options.seed)
        folder = path / config.model
        if (folder / "config.json").is_file():
            finished.append(resume(folder, say=say))
        else:
            finished.append(train(config, Run.create(config, folder), say))
    by_name = {results["model"]: results for results in finished}
    records = {name: Run.open(path / name).metrics() for name in by_name}
    pictures.learning_curves(records, path / "learning_curves.png")
    pictures.accuracy_against_angle(by_name, path / "accuracy_against_angle.png")
    table = results_table(finished)
    details = "\n".join(f"- [{name}]({name}/report.md)" for name in by_name)
    Run(path).write(
        "report.md",
        f"""# Plain CNN and G-CNN on rotated digits

{table}

{protocol(config, finished[-1])}

![loss and error against epochs](learning_curves.png)
![accuracy against angle](accuracy_against_angle.png)

{details}
""",
    )
    say(f"\n{table}\n\nReport with pictures: {path / 'report.md'}")
    return finished
