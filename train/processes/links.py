"""Connections between the processes of a job, which carry small messages of JSON."""

import contextlib
import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

SILENCE_SECONDS = 40.0
"""A process that has sent nothing for so long counts as gone."""
LEAVE_SECONDS = 0.5
MOST_BYTES = 1 << 20
"""No message is longer."""


@dataclass(frozen=True)
class Job:
    """The processes that train together: how many, which one this is, and where the first is."""

    host: str
    port: int
    processes: int
    process: int

    @classmethod
    def parse(cls, coordinator: str, processes: int, process: int) -> "Job":
        """A job from the options of the command line; ValueError names the one that is wrong."""
        host, _, port = coordinator.rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(
                "`coordinator` must be HOST:PORT, the machine of process 0 and a free port of it, "
                f"such as 10.0.0.1:1234, got {coordinator!r}"
            )
        if processes < 1:
            raise ValueError(f"`processes` must be at least 1, got {processes}")
        if not 0 <= process < processes:
            raise ValueError(
                f"`process` must be from 0 to {processes - 1}, since `processes` is {processes}, "
                f"got {process}"
            )
        return cls(host.removeprefix("[").removesuffix("]"), int(port), processes, process)

    @property
    def address(self) -> str:
        """``HOST:PORT``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class LostError(Exception):
    """A connection that closed, failed, or carries something else than messages."""


class Link:
    """A connection to another process, as JSON objects one way and the other."""

    def __init__(self, connection: socket.socket, name: str = ""):
        self.connection, self.name = connection, name
        self.since = self.heard = time.monotonic()
        self._buffer = b""
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, **message) -> None:
        """Send without waiting. A peer that has gone is noticed by `receive`."""
        data = json.dumps(message).encode() + b"\n"
        deadline = time.monotonic() + 1
        with contextlib.suppress(OSError):
            while data and time.monotonic() < deadline:
                try:
                    data = data[self.connection.send(data) :]
                except BlockingIOError:  # a peer that does not read: its silence will tell
                    time.sleep(0.01)

    def receive(self) -> list[dict]:
        """The messages that have come; LostError if the peer has gone or speaks otherwise."""
        try:
            data = self.connection.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError as error:
            raise LostError(error.strerror or str(error)) from None
        if not data:
            raise LostError("the connection closed")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            messages = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            raise LostError("it answers something else") from None
        if len(self._buffer) > MOST_BYTES or not all(isinstance(m, dict) for m in messages):
            raise LostError("it answers something else")
        self.heard = time.monotonic()
        return messages

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.close()


def leave(links: Iterable[Link], **message) -> None:
    """Send a last message, and close when all have read it, or soon."""
    links = list(links)
    for link in links:
        link.send(**message)
        with contextlib.suppress(OSError):
            link.connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + LEAVE_SECONDS
    for link in links:
        # Closing with unread messages would take back what was sent.
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0:
                link.connection.settimeout(left)
                if not link.connection.recv(1 << 16):
                    break
        link.close()


def printable(text) -> str:
    """Text of another process, without what would steer a terminal, and not too long."""
    return "".join(c if c.isprintable() else "?" for c in str(text))[:1000]
