"""Lines of progress: when they come, and what they say."""

import dataclasses
import os
import re
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from train import progress
from train.data.load import load_data
from train.loop import train
from train.memory_use import device_bytes, memory_in_words
from train.progress import ImageBar, ProgressLines, TrainingProgress, duration, shown


class Clock:
    """A clock that stands until it is set."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_there_is_a_line_every_30_seconds_and_none_before(clock):
    said = []
    lines = ProgressLines(said.append, total=1200, unit="step", title="net 1/2", clock=clock)
    times = []
    for second in range(1, 200):
        clock.now = 100 + second
        if second > 70:  # the first steps take long: they are compiled
            lines.advance(2, f"loss 0.5, {second} images/s")
        before = len(said)
        lines.tick()
        times += [second] * (len(said) - before)
    assert times == [30, 60, 90, 120, 150, 180]
    assert said[:2] == ["net 1/2: 0 of 1,200 steps"] * 2
    # 2 steps in each second, and 1,200 - 40 are left.
    assert said[2] == "net 1/2: 40 of 1,200 steps, loss 0.5, 90 images/s, 10 min left"
    assert said[5] == "net 1/2: 220 of 1,200 steps, loss 0.5, 180 images/s, 8 min left"


def test_other_lines_count_and_say_the_time_left(clock):
    said = []
    lines = ProgressLines(said.append, total=100, unit="step", clock=clock)
    lines.say("the first")
    lines.advance(10)
    clock.now += 20
    lines.advance(10)
    lines.say("an epoch")
    assert said == ["the first", "an epoch, 3 min left"], "80 more at 2 s each"
    clock.now += 29
    lines.tick()
    assert len(said) == 2
    lines.advance(79)
    lines.say("nearly all")  # less than seconds are left
    assert said[2] == "nearly all"


def test_lines_say_the_memory_if_they_are_told_it(clock):
    said = []
    memory = iter(["memory 1 GB", "memory 2 GB"])
    lines = ProgressLines(
        said.append, total=100, unit="step", title="net", memory=memory.__next__, clock=clock
    )
    lines.advance(10, "loss 1")
    clock.now += 30
    lines.advance(10, "loss 2")
    lines.tick()
    lines.say("an epoch")
    assert said == [
        "net: 20 of 100 steps, loss 2, memory 1 GB, 4 min left",
        "an epoch, memory 2 GB, 4 min left",
    ]


def test_the_memory_is_that_of_this_process():
    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def told() -> float:
        number, unit = re.fullmatch(r"memory ([\d.]+) (MB|GB)", memory_in_words()).groups()
        return float(number) * {"MB": 1e6, "GB": 1e9}[unit]

    before = told()
    assert before == pytest.approx(resident(), rel=0.1)
    held = np.ones(2**28, np.uint8)
    assert told() - before == pytest.approx(held.nbytes, rel=0.5)


@pytest.mark.parametrize(("stats", "found"), [
    (None, None), ({}, None), ({"bytes_limit": 9}, None), ({"bytes_in_use": 7}, 7),
    ({"bytes_in_use": 7, "peak_bytes_in_use": 8}, 8),
])  # fmt: skip
def test_the_memory_of_devices_is_the_most_that_was_taken(stats, found):
    assert device_bytes(stats) == found


def test_of_several_devices_the_fullest_is_told(monkeypatch):
    class Device:
        def __init__(self, taken):
            self.taken = taken

        def memory_stats(self):
            return {"peak_bytes_in_use": self.taken}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device(2e9), Device(3.24e9), Device(1)])
    assert memory_in_words().endswith(", on the device 3.2 GB")


def test_no_line_comes_where_there_is_a_bar_or_after_the_end(clock):
    said = []
    with ProgressLines(said.append, total=1, unit="step", active=False, clock=clock) as lines:
        clock.now += 100
        lines.tick()
    with ProgressLines(said.append, total=1, unit="step", clock=clock) as lines:
        pass
    clock.now += 100
    lines.tick()
    assert said == []


def test_each_epoch_has_a_line_and_long_ones_have_lines_within(clock, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    said = []
    with TrainingProgress(said.append, 600, 0) as running:
        running.lines._clock, running.lines._last = clock, clock.now
        for epoch, seconds in enumerate([1, 1, 70], 1):
            running.begin(f"net {epoch}/3", "")
            for _ in range(seconds):
                clock.now += 1
                running.advance(1, "loss 1")
                running.lines.tick()
            running.end(f"epoch {epoch}")
    firsts = [line.split(",")[0] for line in said]
    within = ["net 3/3: 32 of 600 steps", "net 3/3: 62 of 600 steps"]
    assert firsts == ["epoch 1", "epoch 2", *within, "epoch 3"]
    assert all(re.search(r", memory [\d.]+ [MG]B(, |$)", line) for line in said)


def test_a_terminal_has_a_bar_and_no_lines(clock, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    said = []
    with TrainingProgress(said.append, 10, 0) as running:
        running.lines._clock = clock
        clock.now += 100
        running.advance(1, "")
        running.lines.tick()
        running.end("an epoch")
        assert not said and not running.bar.disable and running.bar.n == 1
        running.begin("", "net 1/1")
        running.advance(4, "loss 1, 9 images/s")
        shown = r"net 1/1: 50 %\|.*\| .* left, loss 1, 9 images/s, memory [\d.]+ [MG]B"
        assert re.fullmatch(shown, str(running.bar))


@pytest.mark.parametrize(("seconds", "words"), [
    (0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5990, "100 min"), (6000, "1.7 h"),
])  # fmt: skip
def test_durations(seconds, words):
    assert duration(seconds) == words


def wait_for(condition) -> None:
    """Wait until something is so that another thread does: at most a minute."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError


def test_lines_come_while_a_single_step_takes_long(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.01)
    said = []
    with ProgressLines(said.append, total=7, unit="batch", title="testing"):
        wait_for(lambda: said)
    assert said[0] == "testing: 0 of 7 batches"
    with ImageBar(1000, log=said.append) as bar:
        bar.update(10)
        wait_for(lambda: "reading: 10 of 1,000 images" in said[-1])
        bar.update(90)
        wait_for(lambda: "reading: 100 of 1,000 images" in said[-1])
    assert re.fullmatch(r"reading: 100 of 1,000 images, [\d,]+ images/s, .* left", said[-1])
    for item in shown([1, 2], 2, "testing"):
        if item == 2:
            wait_for(lambda: "testing: 1 of 2 batches\n" in capsys.readouterr().out)
    assert list(shown([1, 2], 2, None)) == [1, 2] and not capsys.readouterr().out


def test_runs_say_how_far_they_are(smaller, tmp_path, monkeypatch):
    """Within the epochs, too, and with the time that is left."""
    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr(progress, "FEW", 0.0)
    said, advance = [], TrainingProgress.advance

    def slowly(self, steps, text):
        advance(self, steps, text)
        self.lines.tick()

    monkeypatch.setattr(TrainingProgress, "advance", slowly)
    config = dataclasses.replace(smaller, validation=16, epochs=1)
    train(config, tmp_path / "run", said.append)
    steps = len(load_data(config).train.label) // 16
    within = [
        line for line in said if re.match(rf"lenet p4 epoch 1/1: \d of {steps} steps, loss ", line)
    ]
    assert len(within) >= steps and all("images/s" in line for line in within)
    memory = r"memory [\d.]+ [MG]B"
    assert any(re.search(rf"images/s, {memory}, \d+ s left$", line) for line in within)
    assert sum("epoch 1/1: loss" in line for line in said) == 1
