"""Two processes that train one network; what one device, pmap and sharding have in common."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.train.runs import final_arrays
from tests.train.test_step import assert_same, three_steps
from train.__main__ import main
from train.distributed import Distributed, take_options
from train.parallel import Parallel, choose_parallel
from train.rundir import Run

OPTIONS = [
    "digits-p4cnn", "--model", "lenet", "--group", "p4", "--width", "2", "--train-images", "96",
    "--test-images", "40", "--batch-size", "16", "--optimizer", "sgd", "--learning-rate", "0.01",
]  # fmt: skip
# Few angles and no pictures, as `quick_report` for the tests in this process.
PROGRAM = """
import sys
from train import evaluate, loop
from train.__main__ import main

evaluate.ANGLES = (0.0, 90.0)
loop.write_report = lambda *_: None
sys.exit(main(sys.argv[1:]))
"""


def start(folder: Path, process: int | None, port: int, *arguments) -> subprocess.Popen:
    if process is not None:
        arguments += ("--distributed", f"--coordinator=127.0.0.1:{port}")
        arguments += ("--processes", "2", "--process", process)
    environment = dict(os.environ, JAX_NUM_CPU_DEVICES="1")
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    with (folder / f"{process}.log").open("a") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    assert pair[0].wait(timeout=120) not in (0, None), "it does not go on alone"
    assert "another process of this job has stopped" in (tmp_path / "0.log").read_text()
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
    for arguments, message in [
        (["a", "--process", "1"], "`process` needs --distributed beside it, got 1"),
        (["a", "--distributed", "--process", "1"], "`coordinator` is missing"),
        (["a", "--distributed", "--process", "one"], "invalid int value: 'one'"),
    ]:
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
