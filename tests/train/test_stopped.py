"""Ctrl-C: the line to type, whatever the run folder is called."""

import contextlib
import io
import shlex
import sys
from pathlib import Path

import pytest

from train import loop
from train.__main__ import main
from train.commands import digits
from train.recipes import presets
from train.recipes.published_tables import TABLES, PublishedTable, Row
from train.run_folder.command_line import command, typed
from train.run_folder.folder import Run

NAMES = ["run", 'it\'s "one" [1];`x`', "-run"]


class InterruptedOutput(io.StringIO):
    """Ctrl-C comes when the line is written that is the last before training begins."""

    def write(self, text: str) -> int:
        if "training images" in text:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.fixture(autouse=True)
def in_a_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def interrupted(*arguments: str) -> int:
    with contextlib.redirect_stdout(InterruptedOutput()):
        return main(list(arguments))


def line_of(capsys, *arguments: str) -> list[str]:
    """The words of the line that is said when a command is stopped."""
    assert interrupted(*arguments) == 130
    said, _, line = capsys.readouterr().err.strip().partition(": stopped; continue with\n")
    assert said == "python -m train" and "\n" not in line
    return shlex.split(line)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_by_the_line_that_was_said(capsys, name):
    started = ["digits-p4cnn", "--train-images", "64", "--parallel", "jit", f"--run={name}"]
    expected = ["python", "-m", "train", "--resume", f"./{name}" if name[0] == "-" else name]
    assert line_of(capsys, *started) == expected
    assert Run.open(name).config.train_images == 64
    assert line_of(capsys, *expected[3:]) == expected, "and again"
    assert interrupted(*expected[3:]) == 130


def test_seeds_and_the_main_job_name_their_one_folder(capsys):
    resume = ["python", "-m", "train", "--resume"]
    small = ["digits-p4cnn", "--train-images", "64", "--parallel", "jit"]
    assert line_of(capsys, *small, "--seeds", "2", "--run", "two [2]") == [*resume, "two [2]"]
    assert line_of(capsys, *resume[3:], "two [2]") == [*resume, "two [2]"]
    assert line_of(capsys, "--run", "main job", "--parallel", "jit") == [*resume, "main job"]
    assert digits.is_digits(Path("main job"))
    assert line_of(capsys, *resume[3:], "main job") == [*resume, "main job"]


def test_a_table_goes_on_by_the_same_command(capsys, monkeypatch):
    rows = (Row("digits-p4cnn", "5.03"),)
    monkeypatch.setitem(TABLES, "rotmnist", PublishedTable("", "", rows, lambda c: c))
    given = ["table", "rotmnist", "--quick", "--parallel", "jit", "--run", "a table"]
    assert line_of(capsys, *given) == ["python", "-m", "train", *given]
    assert Run.open("a table/digits-p4cnn/seed0").config.preset == "digits-p4cnn", "it was begun"


def test_a_comparison_goes_on_by_the_same_command_or_as_one_folder(capsys):
    given = ["digits-p4cnn", "--width", "2", "--parallel", "jit", "--compare-plain"]
    assert line_of(capsys, *given)[3:] == given
    (folder,) = Path("runs").iterdir()
    assert Run.open(folder / "equivariant").config.width == 2, "it was begun"
    resume = ["--resume", str(folder)]
    assert line_of(capsys, *resume)[3:] == resume


def test_what_cannot_go_on_is_only_stopped(capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "prepare_session", stop)
    assert main(["digits-p4cnn", "--run", "x"]) == 130
    assert capsys.readouterr().err == "\npython -m train: stopped\n"
    Run.create(presets.PRESETS["digits-p4cnn"][1], "x")
    words = ["--resume", "x", "--epochs", "30"]
    assert line_of(capsys, *words)[3:] == words, "nothing of it was done"


def test_the_program_is_named_as_it_was_typed(monkeypatch):
    assert command("--resume", typed("x")) == "python -m train --resume x"
    monkeypatch.setattr(sys, "argv", ["/somewhere/train/__main__.py", "--run", "x"])
    typed_words = ["my env/bin/python", "-X", "dev", "-m", "train", "--run", "x"]
    monkeypatch.setattr(sys, "orig_argv", typed_words)
    assert command("list") == "'my env/bin/python' -X dev -m train list"
