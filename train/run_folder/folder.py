"""The run folder: configuration, metrics, results.

JSON and Markdown are written beside and renamed; of ``metrics.jsonl`` a kill can cut the last line,
which is dropped when it is read.
"""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config import DATA_PLACES, NO_MATTER, Config
from ..options.networks import is_own
from ..python_objects import absolute_name
from .checkpoint import Moment
from .command_line import typed
from .environment import ENVIRONMENT, environment, read_environment, with_resumed
from .model_file import keep_model_file

CHECKPOINTS = "checkpoints"  # in a run folder


class Run:
    """A run folder. Use `Run.create` for a new one and `Run.open` for one that is there."""

    def __init__(self, path: Path):
        self.path = Path(path)

    @classmethod
    def create(cls, config: Config, path: Path | None = None) -> "Run":
        """Make the folder and write ``config.json`` and ``environment.json``.

        FileExistsError if there is something in it already.
        """
        path = path or config.run or default_path(config.preset)
        path = Path(path)
        # A file that a kill left half-written is nothing.
        if path.exists() and any(p.suffix != ".tmp" for p in path.iterdir()):
            raise FileExistsError(
                f"run folder {path} is not empty; continue it with `--resume {typed(path)}`, "
                "or name another one with `--run`"
            )
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        keep_model_file(config, path)
        run.write("config.json", _absolute(config).to_json())
        run.write_json(ENVIRONMENT, environment())
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """FileNotFoundError unless ``path`` is a run folder; ValueError for a saved network."""
        run = cls(path)
        if (run.path / "model.safetensors").is_file():
            raise ValueError(
                f"{path} is a saved network and no run folder: predict, features, export, and "
                "evaluate with --data take it"
            )
        if not (run.path / "config.json").is_file():
            near = Path("runs")
            runs = (
                sorted(str(p.parent) for p in near.glob("*/config.json")) if near.is_dir() else []
            )
            hint = f"; there are {', '.join(runs[-5:])}" if runs else ""
            below = sorted(str(p.parent) for p in run.path.glob("**/config.json"))
            if below:
                hint = f"; there are runs below it: {', '.join(below[:5])}"
            raise FileNotFoundError(f"{path} is not a run folder: it has no config.json{hint}")
        return run

    @property
    def config(self) -> Config:
        path = self.path / "config.json"
        try:
            return Config.from_json(json.dumps(_read_table(path)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no configuration: {error}") from None

    def config_at(self, **places: Path | None) -> Config:
        """The configuration with files of the data set where they are now: ``data``, ``raw_dir``,
        ``data_dir``; None where nothing has moved."""
        return _at(self.config, places)

    def record_places(self, config: Config) -> None:
        """Write down where the files of the data set are now, if they were elsewhere."""
        now = _absolute(config)
        if now != self.config:
            self.write("config.json", now.to_json())

    def began_as(self, config: Config) -> bool:
        """Return whether this run was begun with that configuration, wherever its files are and
        whatever is reported."""
        ours, theirs = map(dataclasses.asdict, (self.config, _absolute(config)))
        return all(ours[name] == theirs[name] for name in ours if name not in NO_MATTER)

    @property
    def results(self) -> dict | None:
        """The final figures, or None if the run is not finished."""
        path = self.path / "results.json"
        return _read_table(path) if path.is_file() else None

    def mend(self, reached: Moment) -> None:
        """Make up for what a kill left undone: for a run that goes on after a moment."""
        self.remove_leftovers()
        known = read_environment(self.path)
        found = with_resumed(known, str(reached), environment())
        if found != known:
            self.write_json(ENVIRONMENT, found)

    def remove_leftovers(self) -> None:
        """Remove files and checkpoints that were being written when a kill came."""
        for folder in (self.path, self.path / CHECKPOINTS):
            for path in folder.iterdir() if folder.is_dir() else ():
                # Those of `export` are beside its files.
                if path.suffix != ".tmp" or not path.name.startswith((".", "model.")):
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write beside, then rename."""
        temporary = self.path / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self.path / name)

    def write_json(self, name: str, value) -> None:
        self.write(name, json.dumps(value, indent=2) + "\n")

    def metrics(self) -> list[dict]:
        """The records of ``metrics.jsonl``, one for each epoch."""
        return list(self._read_metrics())

    def add_metrics(self, record: dict) -> None:
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_metrics_after(self, epoch: int) -> None:
        """Drop the records of epochs that will be run again, and a line cut off by a kill."""
        kept = [record for record in self._read_metrics() if record["epoch"] <= epoch]
        self.write("metrics.jsonl", "".join(json.dumps(record) + "\n" for record in kept))

    def _read_metrics(self) -> Iterator[dict]:
        path = self.path / "metrics.jsonl"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        for line in text.splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # the last line before a kill
                return
            if not isinstance(record, dict) or "epoch" not in record:
                return
            yield record


def _absolute(config: Config) -> Config:
    return _at(config, {name: getattr(config, name) for name in DATA_PLACES})


def _at(config: Config, places: dict[str, Path | None]) -> Config:
    # A run can be continued from anywhere, so its paths are absolute.
    moved: dict[str, Any] = {k: Path(p).absolute() for k, p in places.items() if p is not None}
    if config.init is not None and Path(config.init).expanduser().is_dir():  # or a ready network
        moved["init"] = str(Path(config.init).expanduser().absolute())
    if config.on_epoch is not None:
        moved["on_epoch"] = absolute_name(config.on_epoch)
    if is_own(config.model):
        moved["model"] = absolute_name(config.model)
    return dataclasses.replace(config, **moved)


def _read_table(path: Path) -> dict:
    """A JSON object; ValueError names the file if it holds anything else."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if not isinstance(table, dict):
        raise ValueError(f"{path} is damaged: it holds {type(table).__name__}, not an object")
    return table


def default_path(preset: str) -> Path:
    return Path("runs") / f"{preset}-{time.strftime('%Y%m%d-%H%M%S')}"
