"""Two processes that train one network; what one device, pmap and sharding have in common."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from tests.train.runs import final_arrays, free_port
from tests.train.steps.test_step import assert_same, three_steps
from train.__main__ import main
from train.distributed import Distributed, _about, take_options
from train.run_folder.folder import Run
from train.steps.parallel import Parallel, choose_parallel

OPTIONS = [
    "digits-p4cnn", "--model", "lenet", "--group", "p4", "--width", "2", "--train-images", "96",
    "--test-images", "40", "--batch-size", "16", "--optimizer", "sgd", "--learning-rate", "0.01",
    "--report", "none",
]  # fmt: skip
# The program, and an accident.
PROGRAM = """
import os, sys
import train.__main__ as program

def kill(*args):
    os.kill(os.getppid(), 9)
    os.kill(os.getpid(), 9)

def in_compilation():
    from train.steps.parallel import Parallel
    compile = Parallel.compile
    def traced(self, fn, **options):
        return compile(self, lambda *args: kill(), **options)
    Parallel.compile = traced

def in_an_epoch():
    from train.run.trainer import Trainer
    epoch = Trainer.epoch
    def cut(*args):
        for i, step in enumerate(epoch(*args)):
            i < 3 or kill()
            yield step
    Trainer.epoch = cut

def in_a_checkpoint():  # the first one writes it
    from train.run_folder import checkpoint
    if "--process=0" in sys.argv:
        checkpoint._plain = kill
    else:
        checkpoint.Checkpoints.save = kill

def other_settings():
    from dataclasses import replace
    text, config = program.PRESETS["digits-p4cnn"]
    program.PRESETS["digits-p4cnn"] = text, replace(config, average=0.9)

dispatch = program._dispatch

def patched(arguments):
    accident and globals()[accident]()
    return dispatch(arguments)

accident = sys.argv.pop(1)
program._dispatch = patched
if __name__ == "__main__":
    sys.exit(program.main(sys.argv[1:]))
"""


def start(
    folder: Path, process: int | None, port: int, *arguments, accident: str = ""
) -> subprocess.Popen:
    if process is not None:
        arguments += ("--distributed", f"--coordinator=127.0.0.1:{port}")
        arguments += ("--processes", "2", f"--process={process}", "--wait", "30")
    environment = dict(os.environ, JAX_NUM_CPU_DEVICES="1", TMPDIR=str(folder))
    command = [sys.executable, "-c", PROGRAM, accident, *map(str, arguments)]
    with (folder / f"{process}.log").open("a") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


class Alone(Parallel):
    """Nothing is reduced over the devices."""

    axis_name = None


def test_two_processes_are_one_and_end_and_go_on_together(tmp_path):
    run, port = tmp_path / "run", free_port()
    pair = [start(tmp_path, i, port, *OPTIONS, "--epochs", 300, "--run", run) for i in (0, 1)]
    checkpoint = run / "checkpoints" / "000002"
    deadline = time.monotonic() + 300
    while not checkpoint.is_dir():
        assert all(p.poll() is None for p in pair), (tmp_path / "0.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(pair[1].pid, signal.SIGKILL)
    assert pair[1].wait() == -signal.SIGKILL
    assert pair[0].wait(timeout=60) == 1, "it does not go on alone"
    text = (tmp_path / "0.log").read_text()
    assert "error: process 1 of 2 (" in text and "has gone without a goodbye" in text
    assert f"--resume {run}" in text and "stack trace" not in text and "Gloo All" not in text
    assert not (run / "results.json").exists()

    done, port = len(Run(run).metrics()), free_port()
    resumed = ("--resume", run, "--epochs", done + 2)
    pair = [start(tmp_path, i, port, *resumed) for i in (0, 1)]
    alone = start(tmp_path, None, port, *OPTIONS, "--epochs", done + 2, "--run", tmp_path / "one")
    for process in (*pair, alone):
        assert process.wait(timeout=300) == 0, (tmp_path / "0.log").read_text()
    together, one = Run(run), Run(tmp_path / "one")
    assert [r["epoch"] for r in together.metrics()] == list(range(1, done + 3))
    assert "continuing after epoch" in (tmp_path / "0.log").read_text()
    assert "in 2 processes" in (tmp_path / "0.log").read_text()
    losses = [[r["train_loss"] for r in each.metrics()] for each in (together, one)]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    for a, b in zip(final_arrays(together), final_arrays(one), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    text = (tmp_path / "1.log").read_text()
    assert "epoch" not in text.replace("continuing", ""), "the first one speaks for both"


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("accident", ["in_compilation", "in_an_epoch", "in_a_checkpoint"])
def test_one_that_is_killed_is_named_by_the_other(tmp_path, victim, accident):
    port, options = free_port(), (*OPTIONS, "--epochs", 300, "--run", tmp_path / "run")
    accidents = [accident if i == victim else "" for i in (0, 1)]
    pair = [start(tmp_path, i, port, *options, accident=accidents[i]) for i in (0, 1)]
    assert pair[victim].wait(timeout=300) == -signal.SIGKILL
    other = 1 - victim
    assert pair[other].wait(timeout=60) == 1, "within the minute that is promised"
    text = (tmp_path / f"{other}.log").read_text()
    assert f"error: process {victim} of 2 (" in text and "has gone without a goodbye" in text
    assert text.count("error") == 1
    assert "stack trace" not in text and "Traceback" not in text


@pytest.mark.slow
def test_other_data_or_settings_are_refused_in_both(tmp_path, own_images):
    copy = Path(shutil.copytree(own_images, tmp_path / "copy"))
    changed = min((copy / "ring").glob("*.png"))
    with Image.open(changed) as image:
        image.transpose(Image.Transpose.ROTATE_180).point(lambda v: 255 - v).save(changed)
    small = ("--size", 28, "--model", "p4-lenet", "--epochs", 1, "--batch-size", 8)
    port = free_port()
    pair = [
        start(tmp_path, i, port, "--data", folder, *small, "--run", tmp_path / "own")
        for i, folder in enumerate((own_images, copy))
    ]
    for i, process in enumerate(pair):
        assert process.wait(timeout=120) == 2
        text = (tmp_path / f"{i}.log").read_text()
        assert re.search(r"the \S+ images of process 1 differ from those of process 0: give", text)
        assert text.count("error") == 1, "the one says it, and is not told of the other's"
    assert not (tmp_path / "own").exists(), "refused before anything is written"

    port, options = free_port(), (*OPTIONS, "--epochs", 1, "--run", tmp_path / "run")
    pair = [
        start(tmp_path, i, port, *options, accident="other_settings" if i else "") for i in (0, 1)
    ]
    for i, process in enumerate(pair):
        assert process.wait(timeout=120) == 2
        text = (tmp_path / f"{i}.log").read_text()
        assert "the settings of process 1 differ from those of process 0" in text


def test_those_who_do_not_meet_end_with_a_message(capfd):
    port = free_port()
    command = [sys.executable, "-m", "train", "list", "--distributed"]
    command += [f"--coordinator=127.0.0.1:{port}", "--processes=3"]
    for numbers, wait, status, message in [
        ([0, 1], "1.5", 2, "process 2 of 3 did not come to 127.0.0.1:"),
        ([2], "0.5", 2, "process 2 cannot reach process 0 at 127.0.0.1:"),
        ([0, 1, 1], "30", 2, "two processes have the number 1, on "),
    ]:
        started = [
            subprocess.Popen([*command, "--process", str(i), "--wait", wait]) for i in numbers
        ]
        assert [process.wait(timeout=60) for process in started] == [status] * len(numbers)
        errors = capfd.readouterr().err
        assert errors.count(f"python -m train: error: {message}") == len(numbers)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["step", pytest.param("scan", marks=pytest.mark.slow)])
def test_eight_devices_under_sharding_equal_pmap(smaller, loop):
    sharded = three_steps(smaller, Parallel("sharding", 8), loop=loop)
    mapped = three_steps(smaller, Parallel("pmap", 8), loop=loop)
    assert_same(sharded, mapped, atol=1e-6)
    with pytest.raises(AssertionError):  # a negative control: each device for itself
        assert_same(three_steps(smaller, Alone("sharding", 8), loop=loop), mapped, atol=1e-3)


def test_what_is_chosen(monkeypatch):
    assert choose_parallel("auto", 16) == Parallel("pmap", 8)
    assert choose_parallel("sharding", 16) == Parallel("sharding", 8)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert choose_parallel("auto", 16) == Parallel("sharding", 8)
    with pytest.raises(ValueError, match=r"`parallel` must be auto or sharding .* got 'pmap'"):
        choose_parallel("pmap", 16)
    with pytest.raises(ValueError, match="`batch_size` 12 does not divide by the 8 devices; use 8"):
        choose_parallel("auto", 12)


def test_options_of_processes(capsys):
    assert take_options(["a", "--run", "b"]) == (None, ["a", "--run", "b"])
    assert take_options(["--distributed", "a"]) == (Distributed(), ["a"])
    given = ["a", "--distributed", "--coordinator=h:1", "--processes", "2", "--process", "0", "-b"]
    assert take_options(given) == (Distributed("h:1", 2, 0), ["a", "-b"])
    assert take_options([*given, "--wait", "7"]) == (Distributed("h:1", 2, 0, 7.0), ["a", "-b"])
    for arguments, message in [
        (["a", "--process", "1"], "`process` needs --distributed beside it, got 1"),
        (["a", "--distributed", "--process", "1"], "`coordinator` is missing"),
        (["a", "--distributed", "--process", "one"], "invalid int value: 'one'"),
        (["a", "--wait", "5"], "`wait` needs --distributed beside it, got 5.0"),
        (["a", "--distributed", "--wait", "0"], "`wait` must be a number of seconds above 0"),
        (["a", "--distributed", "--wait", "nan"], "`wait` must be a number of seconds above 0"),
        (["a", "--distributed", "--run"], "`run` needs a folder"),
        ([*given, "--run", "b"], "--distributed starts a process, which is not possible after jax"),
    ]:
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_the_command_has_to_be_the_same_but_not_its_folders():
    same = _about(["digits", "--epochs", "5", "--groups", "p4m", "p4", "--run", "a"])
    assert same == _about(["digits", "--run=/b", "--groups", "p4m", "p4", "--epochs=5"])
    assert same["jax"] == jax.__version__
    for other in (["digits", "--epochs", "4"], ["folder"], ["digits"], ["digits", "--no-flip"]):
        other = [*other, *["--groups", "p4m", "p4", "--run", "a"][: 5 if other else 0]]
        assert same != _about(other)
