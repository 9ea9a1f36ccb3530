"""Processes that meet, and those that do not: threads in place of processes, without JAX."""

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.train.runs import free_port
from train.processes.links import Job, Link, LostError, leave
from train.processes.meeting import meet

ABOUT = {"jax": "1.0", "command": "digits\n--epochs 5"}


def meeting(*processes, port=None, wait=10.0, count=None, host="127.0.0.1", late=False):
    """Return what `meet` returns or raises in each of some processes, and the lines it says.

    A process is a number or ``(number, about, number of processes)``; the last one may be ``late``.
    """
    port, count = port or free_port(), count or len(processes)
    lines = [[] for _ in processes]

    def one(place: int):
        given = processes[place]
        process, about, of = given if isinstance(given, tuple) else (given, ABOUT, count)
        while late and place == len(processes) - 1:
            if any(f"{place} of {count}" in line for line in lines[0]):
                break
            time.sleep(0.01)
        try:
            links = meet(Job(host, port, of, process), about, wait, lines[place].append)
        except (ValueError, OSError) as error:
            return error
        return links

    with ThreadPoolExecutor(len(processes)) as pool:
        found = list(pool.map(one, range(len(processes))))
    close(*(links for links in found if isinstance(links, dict)))
    return found, lines


def close(*every: dict[int, Link]) -> None:
    for links in every:
        for link in links.values():
            link.close()


def test_all_meet_and_each_is_told_who_is_awaited():
    found, lines = meeting(0, 1, 2)
    assert [sorted(links) for links in found] == [[1, 2], [0], [0]]
    for said in lines:
        assert re.fullmatch(r"3 of 3 processes are at 127.0.0.1:\d+; starting", said[-1])
    first = lines[0][0]
    assert re.fullmatch(r"1 of 3 processes are at .*; waiting for 1, 2 \(10 s left\)", first)


def test_one_process_waits_for_nobody():
    assert meet(Job("nowhere.invalid", 1, 1, 0), ABOUT, 1.0, pytest.fail) == {}


def test_somebody_who_does_not_come_is_named_in_all_that_did():
    found, _ = meeting(0, 2, count=4, wait=0.8)
    for error in found:
        assert isinstance(error, ConnectionError)
        assert "processes 1, 3 of 4 did not come to 127.0.0.1:" in str(error)
        assert "within 0.8 s: check that each was started" in str(error)
    found, _ = meeting(0, count=2, wait=0.1, host="192.0.2.1")  # an address of documents
    assert re.search(r"within 0.1 s; 192.0.2.1 is not an address of \S+: check", str(found[0]))


def test_a_first_process_that_is_not_there():
    found, lines = meeting(1, count=2, wait=0.6)
    assert isinstance(found[0], ConnectionError)
    assert "process 1 cannot reach process 0 at 127.0.0.1:" in str(found[0])
    assert "within 0.6 s (connection refused): check that process 0 runs" in str(found[0])
    assert "process 0 is not at 127.0.0.1:" in lines[0][0]
    found, _ = meeting(1, count=2, wait=0.1, host="nowhere.invalid")
    assert "cannot reach process 0 at nowhere.invalid:" in str(found[0])


def test_what_does_not_fit_together_is_refused_in_all():
    other = {**ABOUT, "command": "digits\n--epochs 4"}
    for last, message in [
        ((1, ABOUT, 3), "two processes have the number 1, on "),
        ((0, ABOUT, 3), "cannot listen at port "),
        ((2, ABOUT, 4), r"process 2 \(.*\) was started with --processes 4, process 0 "),
        ((2, other, 3), r"process 2 \(.*\) was started with `--epochs 4`, .* with `--epochs 5`: "),
        ((2, {**ABOUT, "jax": "0.9"}, 3), r"process 2 \(.*\) has jax 0.9, .* has jax 1.0: install"),
    ]:
        wait = 1.0 if "listen" in message else 10.0
        found, _ = meeting(0, 1, last, count=3, wait=wait, late=True)
        if "cannot listen" in message:  # one of the two has the port, the other goes at once
            refused = [error for error in found if message in str(error)]
            assert len(refused) == 1 and "check whether another process 0" in str(refused[0])
            continue
        for error in found:
            assert isinstance(error, ValueError) and re.search(message, str(error)), error


def test_one_who_leaves_while_waiting_may_come_back():
    port, lines = free_port(), []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(meet, Job("127.0.0.1", port, 3, 0), ABOUT, 10.0, lines.append)
        early = come(port, 1)
        early.recv(1)
        early.close()
        while not any("1 of 3" in line for line in lines[1:]):
            time.sleep(0.01)
        again = pool.submit(meet, Job("127.0.0.1", port, 3, 1), ABOUT, 10.0, lambda _: None)
        last = come(port, 2)
        assert sorted(first.result()) == [1, 2] and sorted(again.result()) == [0]
        last.close()
        close(first.result(), again.result())


def come(port: int, process: int) -> socket.socket:
    """A connection of a process that says who it is."""
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.01)
            continue
        link = Link(connection)
        link.send(
            protocol="gconv_jax meeting 1", host="x", process=process, processes=3, about=ABOUT
        )
        connection.setblocking(True)
        return connection


@pytest.mark.parametrize(
    "noise",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\xff\n",
        b"[1, 2]\nnull\n",
        b'{"protocol": "gconv_jax meeting 1", "process": "1", "processes": 2, "about": {}}\n',
        b'{"protocol": "another", "process": 1, "processes": 2, "about": {}}\n',
        b"[" * 100_000 + b"\n",
        b"x" * (1 << 21),
    ],
)
def test_strangers_are_sent_away_and_the_processes_meet(noise):
    port, said = free_port(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        job = Job("127.0.0.1", port, 2, 0)
        first = pool.submit(meet, job, ABOUT, 10.0, lambda _: said.set())
        said.wait()
        time.sleep(0.05)
        stranger = socket.create_connection(("127.0.0.1", port))
        with stranger:
            try:
                stranger.sendall(noise)
                if noise:
                    assert stranger.recv(1) == b""
            except ConnectionError:
                pass
            links = meet(Job("127.0.0.1", port, 2, 1), ABOUT, 10.0, lambda _: None)
        assert sorted(first.result()) == [1] and sorted(links) == [0]
        close(first.result(), links)


def test_an_address_where_something_else_answers():
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as pool:
        port = other.getsockname()[1]
        found = pool.submit(meeting, 1, port=port, count=2)
        connection, _ = other.accept()
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        (error,), _ = found.result()
        connection.close()
    assert isinstance(error, ConnectionError)
    assert f"127.0.0.1:{port} is not waiting for processes" in str(error)


def test_a_job_that_has_started_already():
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as pool:
        found = pool.submit(meeting, 1, port=other.getsockname()[1], count=2, wait=0.8)
        connection, _ = other.accept()
        connection.close()
        (error,), _ = found.result()
    assert isinstance(error, ConnectionError)


def test_addresses():
    assert Job.parse("host:80", 2, 1) == Job("host", 80, 2, 1)
    assert Job.parse("[::1]:80", 2, 1).address == "[::1]:80"
    assert Job.parse("[::1]:80", 2, 1).host == "::1"
    for arguments, message in [
        (("host", 2, 0), "`coordinator` must be HOST:PORT, .*, got 'host'"),
        (("host:0", 2, 0), "`coordinator` must be HOST:PORT"),
        (("host:65536", 2, 0), "`coordinator` must be HOST:PORT"),
        ((":80", 2, 0), "`coordinator` must be HOST:PORT"),
        (("host:80", 0, 0), "`processes` must be at least 1, got 0"),
        (("host:80", 2, 2), "`process` must be from 0 to 1, since `processes` is 2, got 2"),
        (("host:80", 2, -1), "`process` must be from 0 to 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            Job.parse(*arguments)


def test_a_last_message_arrives_whatever_was_not_read():
    for _ in range(20):
        a, b = socket.socketpair()
        one, other = Link(a), Link(b)
        other.send(alive=True)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(leave, [one], gone=1)
            messages = []
            try:
                while True:
                    messages += other.receive()
            except LostError:
                other.close()
        assert messages == [{"gone": 1}]
