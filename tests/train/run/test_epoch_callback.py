"""The user's function that is given the figures of each epoch."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest

from train.config import Config
from train.loop import resume, train
from train.run.epoch_callback import EpochCallback
from train.seeds import train_seeds

TRACK = """
import json
from dataclasses import dataclass

@dataclass  # looks its own module up
class Line:
    text: str

def log(folder, figures):
    with (folder.parent / "tracked.jsonl").open("a") as file:
        file.write(Line(json.dumps([folder.name, figures])).text + "\\n")

def fail(folder, figures):
    raise ConnectionError("no network")

unfit = 3
"""


@pytest.fixture
def track(tmp_path) -> Path:
    path = tmp_path / "track.py"
    path.write_text(TRACK)
    return path


def tracked(folder: Path) -> list:
    return [json.loads(line) for line in (folder / "tracked.jsonl").read_text().splitlines()]


def test_each_epoch_and_the_test_are_told(smaller, track, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(smaller, on_epoch="track.py:log", validation=16)
    run = train(config, tmp_path / "run", lambda line: None)
    names, figures = zip(*tracked(tmp_path), strict=True)
    assert set(names) == {"run"}
    assert list(figures[:-1]) == run.metrics() and len(run.metrics()) == 2
    assert "validation_error" in figures[0]
    results, last = run.results, run.metrics()[-1]
    assert figures[-1] == {
        "epoch": 2, "step": last["step"],
        "test_loss": results["test_loss"], "test_error": results["test_error"],
    }  # fmt: skip
    # A run that goes on from elsewhere finds the function, and it began as without one.
    assert run.config.on_epoch == f"{track}:log"
    assert run.began_as(dataclasses.replace(config, on_epoch=None))
    monkeypatch.chdir("/")
    resume(run.path, epochs=3, log=lambda line: None)
    assert [f["epoch"] for _, f in tracked(tmp_path)] == [1, 2, 2, 3, 3]


def test_seeds_are_told_apart(smaller, track, tmp_path):
    config = dataclasses.replace(smaller, on_epoch=f"{track}:log", seeds=2, epochs=1)
    runs = train_seeds(config, tmp_path / "both", lambda line: None)
    found = [(name, f["epoch"]) for name, f in tracked(tmp_path / "both") if "train_loss" in f]
    assert found == [("seed0", 1), ("seed1", 1)]
    told = {name: f["test_error"] for name, f in tracked(tmp_path / "both") if "test_error" in f}
    assert told == {run.path.name: run.results["test_error"] for run in runs}


def test_a_service_that_fails_does_not_end_the_training(track, tmp_path):
    config = Config(on_epoch=f"{track}:fail")
    said = []
    EpochCallback(config)(tmp_path, {"epoch": 7}, said.append)
    where = f"warning: {track}:fail failed after epoch 7"
    assert said == [f"{where}: ConnectionError: no network"]


def test_a_module_in_the_current_folder(track, tmp_path, monkeypatch):
    track.rename(tmp_path / "tracking_of_mine.py")
    monkeypatch.chdir(tmp_path)
    EpochCallback(Config(on_epoch="tracking_of_mine:log"))(tmp_path / "run", {"epoch": 1}, print)
    assert tracked(tmp_path) == [["run", {"epoch": 1}]]
    with pytest.raises(ValueError, match=r"`on_epoch` mine:log: there is no module mine in .*; na"):
        EpochCallback(Config(on_epoch="mine:log"))


def test_the_first_process_alone_tells(track, tmp_path, monkeypatch):
    told = EpochCallback(Config(on_epoch=f"{track}:log"))
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    told(tmp_path / "run", {"epoch": 1}, print)
    assert not (tmp_path / "tracked.jsonl").exists()
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    told(tmp_path / "run", {"epoch": 1}, print)
    assert tracked(tmp_path) == [["run", {"epoch": 1}]]


@pytest.mark.parametrize(("text", "message"), [
    ("track", "must be FILE.py:FUNCTION or MODULE:FUNCTION, such as track.py:log, got 'track'"),
    ("track 2:log", "must be FILE.py:FUNCTION"),
    ("track.py:", "must be FILE.py:FUNCTION"),
])  # fmt: skip
def test_what_is_no_function_of_a_file_is_refused(text, message):
    with pytest.raises(ValueError, match=f"`on_epoch` {message}"):
        Config(on_epoch=text)


@pytest.mark.parametrize(("name", "text", "message"), [
    ("track.py:other", TRACK, "has no function other"),
    ("track.py:unfit", TRACK, "has no function unfit"),
    ("gone.py:log", TRACK, "there is no file"),
    ("track.py:log", "import nothing_of_this_name", "cannot be run: ModuleNotFoundError: No mod"),
    ("track.py:log", "def log(:", "cannot be run: SyntaxError"),
])  # fmt: skip
def test_mistakes_come_before_anything_is_written(smaller, tmp_path, name, text, message):
    (tmp_path / "track.py").write_text(text)
    config = dataclasses.replace(smaller, on_epoch=f"{tmp_path}/{name}")
    for begin in (train, train_seeds):
        with pytest.raises(ValueError, match=f"`on_epoch` .*{message}"):
            begin(config, tmp_path / "run", print)
    assert not (tmp_path / "run").exists()
