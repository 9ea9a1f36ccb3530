"""A kill in mid-epoch, and the main job: slow, and in a file of their own, since files are what the
workers of pytest-xdist share out."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.train.pages import Parsed
from tests.train.runs import assert_same_bits
from train.__main__ import main
from train.run_folder.folder import Run


def start(log: Path, *arguments: str) -> subprocess.Popen:
    with log.open("w") as output:
        return subprocess.Popen([sys.executable, "-m", "train", *arguments], stdout=output)


def test_kill_9_in_mid_epoch_and_resume_end_with_the_same_bits(tmp_path):
    options = [
        "digits-p4cnn", "--model", "lenet", "--width", "2", "--batch-size", "8",
        "--train-images", "400", "--test-images", "16", "--epochs", "3",
    ]  # fmt: skip
    log = tmp_path / "log.txt"
    whole = start(log, *options, "--run", str(tmp_path / "whole"))
    killed = start(log, *options, "--run", str(tmp_path / "killed"))
    checkpoint = tmp_path / "killed" / "checkpoints" / "000001"
    deadline = time.monotonic() + 300
    while not checkpoint.is_dir():
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)  # into the second epoch
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "results.json").exists()
    assert whole.wait() == 0
    assert start(log, "--resume", str(tmp_path / "killed")).wait() == 0
    assert "continuing after epoch" in log.read_text()
    killed, whole = Run(tmp_path / "killed"), Run(tmp_path / "whole")
    assert [r["epoch"] for r in killed.metrics()] == [1, 2, 3]
    assert_same_bits(killed, whole)


def test_the_main_job_compares_both_networks_and_continues_where_it_was(tmp_path, monkeypatch):
    from train.recipes import presets

    smaller = {"width": 2, "train_images": 96, "test_images": 40, "parallel": "jit", "angles": 4}
    small = {
        name: (text, dataclasses.replace(config, **smaller))
        for name, (text, config) in presets.PRESETS.items()
        if name.startswith("digits")
    }
    for name, recipe in small.items():
        monkeypatch.setitem(presets.PRESETS, name, recipe)
    run = tmp_path / "digits"
    assert main(["--epochs", "1", "--run", str(run)]) == 0
    report = (run / "report.md").read_text()
    assert "| z2cnn | " in report and "| p4cnn | " in report
    assert (run / "learning_curves.png").is_file() and (run / "p4cnn" / "report.md").is_file()
    page = Parsed((run / "report.html").read_text())
    assert [network["name"] for network in page.data["networks"]] == ["z2cnn", "p4cnn"]
    assert (run / "p4cnn" / "report.html").is_file()
    (run / "report.md").unlink()
    (run / "p4cnn" / "results.json").unlink()  # as if killed before the end of the second
    finished = (run / "z2cnn" / "results.json").stat().st_mtime_ns
    assert main(["--epochs", "2", "--run", str(run)]) == 2, "other options than it was begun with"
    assert main(["--resume", str(run)]) == 0
    assert (run / "report.md").read_text() == report
    assert (run / "z2cnn" / "results.json").stat().st_mtime_ns == finished, "not trained again"
