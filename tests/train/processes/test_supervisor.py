"""Processes that end early, and what the others say and do: real processes, without JAX."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.train.runs import free_port

PROGRAM = """
import os, signal, sys, time
from train.processes import supervisor
from train.processes.links import Job
from train.processes.meeting import meet

def complain(text):
    print("error:", text, file=sys.stderr, flush=True)

process, processes, port = map(int, sys.argv[1:4])
supervisor.INTERRUPT_SECONDS, supervisor.NEWS_SECONDS, supervisor.GRACE_SECONDS = 0.5, 0.5, 0.6
supervisor.SILENCE_SECONDS, supervisor.ALIVE_SECONDS = float(sys.argv[5]), 0.2
job = Job("127.0.0.1", port, processes, process)
side = supervisor.divide(job, meet(job, {}, 30.0, lambda _: None), complain, "start again")
if isinstance(side, supervisor.Supervisor):
    try:
        sys.exit(side.watch())
    except KeyboardInterrupt:
        sys.exit("interrupted")
print("child", os.getpid(), flush=True)
sys.stdin.readline()  # until all have said so
exec(sys.argv[4])
side.finish()
"""
WAIT, KILL = "time.sleep(50)", "os.kill(os.getpid(), 9)"
KILL_PARENT = "os.kill(os.getppid(), 9); time.sleep(50)"
ABORT = "os.write(2, b'*** stack trace ***\\n'); os.abort()"
FAIL = "print('a message', file=sys.stderr, flush=True); side.tell(); os._exit(2)"


SLOW = pytest.mark.slow


class Job:
    """Processes that are started together, each with the work of its child."""

    def __init__(self, *work: str, silence: float = 40.0):
        port, count = str(free_port()), str(len(work))
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(i), count, port, code, str(silence)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i, code in enumerate(work)
        ]
        self.children = [int(p.stdout.readline().removeprefix("child ")) for p in self.processes]
        for process in self.processes:
            process.stdin.write("\n")
            process.stdin.flush()

    def end(self) -> list[tuple[int, str]]:
        """The exit status and the messages of each; within the minute that is promised."""
        results = []
        for process in self.processes:
            _, errors = process.communicate(timeout=60)
            results.append((process.returncode, errors))
        for child in self.children:
            deadline = time.monotonic() + 60
            while alive(child):
                assert time.monotonic() < deadline, "a child goes on without its parent"
                time.sleep(0.02)
        return results


def alive(child: int) -> bool:
    try:
        with open(f"/proc/{child}/stat") as file:  # one that nobody has waited for is a zombie
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_end_when_the_last_has_finished():
    results = Job("pass", "os.write(2, b'a line\\n'); time.sleep(0.5)", "pass").end()
    assert results == [(0, ""), (0, "a line\n"), (0, "")]


@pytest.mark.parametrize(
    ("victim", "work", "status", "own", "how"),
    [
        (0, KILL, 137, "this one, was ended by SIGKILL", "was ended by SIGKILL, as systems do"),
        pytest.param(1, KILL, 137, "was ended by SIGKILL", "was ended by SIGKILL", marks=SLOW),
        (0, KILL_PARENT, -9, "", "has gone without a goodbye (the connection "),
        (1, KILL_PARENT, -9, "", "has gone without a goodbye (the connection "),
        (1, FAIL, 2, "a message", "has ended with an error, which its output names"),
        (1, "os._exit(0)", 1, "this one, has ended without a word", "has ended without a word"),
    ],
)
def test_one_that_ends_early_is_named_by_all(victim, work, status, own, how):
    results = Job(*(work if i == victim else WAIT for i in range(3))).end()
    for i, (code, errors) in enumerate(results):
        if i == victim:
            assert code == status and own in errors
            continue
        assert code == 1 and errors.count("\n") == 1
        assert errors.startswith(f"error: process {victim} of 3 (") and f") {how}" in errors
        assert f"Process {i} has stopped, too" in errors and errors.endswith("start again\n")


@pytest.mark.parametrize(
    ("abort", "status", "how"),
    [
        (ABORT, 134, "was ended by SIGABRT"),
        (ABORT.replace("os.abort()", "os._exit(1)"), 1, "has ended without a word"),
    ],
)
def test_a_trace_of_the_runtime_is_shown_only_if_it_is_about_this_process(abort, status, how):
    (code, errors), (other, message) = Job(abort, WAIT).end()
    assert (code, other) == (status, 1)
    assert "*** stack trace ***" in errors and f"this one, {how}" in errors
    assert "process 0 of 2" in message and how in message
    early = f"time.sleep(0.3); {abort}"
    (_, _), (code, errors) = Job(f"time.sleep(0.5); {KILL_PARENT}", early).end()
    assert code == 1 and "stack trace" not in errors, "it aborts as the first goes"
    assert "process 0 of 2" in errors and "has gone without a goodbye" in errors


def test_the_same_error_in_all_is_told_once_in_each():
    assert Job(FAIL, f"time.sleep(0.2); {FAIL}", FAIL).end() == [(2, "a message\n")] * 3


def test_ctrl_c_in_all_is_told_once_in_each():
    stopped = "print('stopped', file=sys.stderr, flush=True); side.tell(); os._exit(130)"
    traced = f"time.sleep(0.2); os.write(2, b'*** stack trace ***\\n'); {stopped}"
    assert Job(stopped, traced).end() == [(130, "stopped\n")] * 2


@pytest.mark.parametrize(
    ("number", "status", "own", "how"),
    [
        (signal.SIGTERM, 143, "error: stopped by SIGTERM; start again", "was stopped by SIGTERM"),
        (signal.SIGINT, 1, "interrupted", "was stopped by Ctrl-C"),
    ],
)
def test_a_process_that_is_told_to_stop(number, status, own, how):
    # A suite in the background of a shell ignores SIGINT, and its children would.
    before = signal.signal(number, lambda *_: None)
    try:
        job = Job(WAIT, WAIT)
    finally:
        signal.signal(number, before)
    time.sleep(0.3)
    job.processes[1].send_signal(number)
    (other, message), (code, errors) = job.end()
    assert (code, other) == (status, 1)
    assert own in errors and "process 1 of 2 (" in message and how in message


def test_a_signal_that_was_ignored_before_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        job = Job("time.sleep(0.5)", "time.sleep(0.5)")
    finally:
        signal.signal(signal.SIGHUP, before)
    job.processes[1].send_signal(signal.SIGHUP)
    assert job.end() == [(0, ""), (0, "")]


def test_a_process_that_is_silent():
    job = Job(WAIT, WAIT, silence=1.0)
    os.kill(job.processes[0].pid, signal.SIGSTOP)
    _, message = job.processes[1].communicate(timeout=60)
    os.kill(job.processes[0].pid, signal.SIGCONT)
    assert "process 0 of 2 (" in message and "has been silent for 1 s" in message
    (code, _), _ = job.end()
    assert code == 1
