"""Files that are damaged, changed or cannot be written: a clear message, and nothing is lost."""

import errno
import json
import shutil

import numpy as np
import pytest

from tests.train.runs import assert_same_bits
from train.__main__ import main
from train.config import Config
from train.loop import train
from train.run_folder import checkpoint, environment
from train.run_folder.checkpoint import Moment
from train.run_folder.folder import Run


@pytest.fixture(scope="module")
def finished(smaller, tmp_path_factory):
    return train(smaller, tmp_path_factory.mktemp("finished") / "run", lambda line: None)


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "run")
    return Run(tmp_path / "run")


def refused(capsys, *arguments) -> str:
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("python -m train: error: ") and "Traceback" not in error
    return error


CONTENTS = {
    "cut": b'{"model": ',
    "no text": b"\xff\xfe\x00",
    "no table": b"[1]",
    "empty": b"",
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", ["config.json", "results.json"])
def test_damaged_tables_are_named(copy, capsys, name, content):
    (copy.path / name).write_bytes(CONTENTS[content])
    for command in (["evaluate", copy.path], ["--resume", copy.path]):
        assert f"{name} is damaged: " in refused(capsys, *command)


def test_other_settings_than_the_checkpoints(copy, capsys):
    path = copy.path / "config.json"
    config = json.loads(path.read_text())
    (copy.path / "results.json").unlink()
    for change, message in [
        ({"width": 3}, "written by a network of another shape"),
        ({"width": 0}, "`width` must be"),
        ({"widthh": 3}, "unknown settings in the configuration: widthh"),
        ({"model": "p5cnn"}, "`model` must be one of z2cnn, "),
        ({"width": "two"}, "`width` must be int | None, got 'two'"),
    ]:
        path.write_text(json.dumps(config | change))
        assert message in refused(capsys, "--resume", copy.path)
    assert copy.metrics() and copy.path.joinpath("checkpoints", "000002").is_dir()


def test_metrics_that_are_damaged_are_written_again(copy, finished):
    (copy.path / "results.json").unlink()
    lines = (copy.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (copy.path / "metrics.jsonl").write_bytes(lines[0] + b"\xff\xfe{")
    shutil.rmtree(copy.path / "checkpoints" / "000002")
    assert main(["--resume", str(copy.path)]) == 0
    assert [record["epoch"] for record in copy.metrics()] == [1, 2]
    assert_same_bits(copy, finished)


def test_what_a_kill_leaves_is_made_good(copy, finished):
    for name in (".environment.json.tmp", ".report.html.tmp", "model.onnx.tmp", "notes.tmp"):
        (copy.path / name).write_text("cut off")
    for folder in (copy.path / "checkpoints" / ".000002.tmp", copy.path / ".model.tmp"):
        folder.mkdir()
        (folder / "arrays.npz").write_bytes(b"PK")
    for name in ("results.json", "environment.json"):
        (copy.path / name).unlink()
    assert main(["--resume", str(copy.path)]) == 0
    for folder in (".", "checkpoints"):
        found = {path.name for path in (copy.path / folder).iterdir()}
        expected = {path.name for path in (finished.path / folder).iterdir()}
        assert found - {"notes.tmp"} == expected
    assert (copy.path / "notes.tmp").is_file(), "not ours"
    name = "environment.json"
    assert (copy.path / name).read_text() == (finished.path / name).read_text()
    (copy.path / ".report.html.tmp").write_text("cut off after the results")
    assert main(["--resume", str(copy.path)]) == 0
    assert not (copy.path / ".report.html.tmp").exists()


def test_another_environment_is_added_to_the_first(copy):
    first = environment.read_environment(copy.path)
    elsewhere = first | {"cores": first["cores"] + 1}
    copy.write_json("environment.json", elsewhere)  # as if begun on another machine
    for epoch in (1, 2):
        copy.mend(Moment(epoch))
    kept = environment.read_environment(copy.path)
    assert kept == elsewhere | {"resumed": [{"after": "epoch 1"} | first]}
    for cores, epoch in ((64, 3), (64, 4), (8, 5)):
        kept = environment.with_resumed(kept, f"epoch {epoch}", first | {"cores": cores})
    resumed = [{"after": f"epoch {e}"} | first | {"cores": c} for e, c in ((3, 64), (5, 8))]
    assert kept["resumed"][1:] == resumed
    copy.write_json("environment.json", kept)
    own = first["cores"]
    cores = f"{own + 1}, {own} after epoch 1, 64 after epoch 3, 8 after epoch 5"
    shown = environment.shown(copy.path)
    assert shown == {name: str(value) for name, value in first.items()} | {"cores": cores}
    (copy.path / "environment.json").write_text("{")
    copy.mend(Moment(5))
    assert environment.read_environment(copy.path) == first


@pytest.mark.one_in(6)
@pytest.mark.parametrize("broken", ["arrays", "manifest", "rename"])
def test_a_full_disk(smaller, finished, tmp_path, monkeypatch, capsys, broken):
    run = Run(tmp_path / "run")

    def full(*_, **__):
        if (run.path / "checkpoints" / "000001").is_dir():
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(*_, **__)

    owner, name = {
        "arrays": (np, "savez"),
        "manifest": (checkpoint, "_checksum"),
        "rename": (checkpoint.os, "replace"),
    }[broken]
    whole = getattr(owner, name)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        with pytest.raises(OSError, match="no space left on device; mend that and use --resume"):
            train(smaller, run.path, lambda line: None)
    assert [p.name for p in (run.path / "checkpoints").iterdir()] == ["000001"]
    assert main(["--resume", str(run.path)]) == 0
    assert "continuing after epoch 1" in capsys.readouterr().out
    assert_same_bits(run, finished)


def test_a_run_folder_that_cannot_be(tmp_path, capsys):
    (tmp_path / "file").touch()
    error = refused(capsys, "digits-p4cnn", "--epochs", 1, "--run", tmp_path / "file" / "run")
    assert "Not a directory" in error and "run" in error


def test_a_configuration_is_read_as_it_was_written(smaller):
    assert Config.from_json(smaller.to_json()) == smaller
