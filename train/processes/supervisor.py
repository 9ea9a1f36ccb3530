"""The parent process that watches over one process of a job, whose work is done in a child.

JAX aborts a process from C++ when the coordinator has gone, and waits in a collective operation for
peers that will never come. No Python code of the same process can prevent either. The parent knows
from its connections to the other parents which process has gone. It ends its child and says so.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .links import SILENCE_SECONDS, Job, Link, LostError, leave, printable

TICK_SECONDS = 0.2
ALIVE_SECONDS = 5.0
"""A sign of life is sent so often."""
HOLD_SECONDS = 1.5
"""The time for which output of the runtime is held back: it may be about a peer that has gone."""
NEWS_SECONDS = 3.0
"""After a crash of the child so much time is given to learn of a peer that has gone."""
GRACE_SECONDS = 2.0
"""When another process ends with an error, this one may be about to end with the same one."""
INTERRUPT_SECONDS = 5.0
"""After Ctrl-C the child has so much time to end by itself."""
END_SECONDS = 30.0
"""When all have finished, the child has so much time to end."""


class Worker:
    """The child's end: its work is to be done, then `finish` waits for that of the others."""

    def __init__(self, control: socket.socket, errors: int):
        # C++ code writes to the second file descriptor, Python code goes on where it did.
        sys.stderr = os.fdopen(
            os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace"
        )
        os.dup2(errors, 2)
        os.close(errors)
        self._control, self._all_finished = control, threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                word = self._control.recv(1)
            except OSError:
                word = b""
            if not word:  # the parent was killed
                os._exit(1)
            self._all_finished.set()

    def finish(self) -> None:
        """Return when all processes have finished their work."""
        self._control.sendall(b"f")
        self._all_finished.wait()

    def tell(self) -> None:
        """Say that this process ends by itself, with a message. JAX may end it without one."""
        self._control.sendall(b"t")


@dataclass(frozen=True)
class _Loss:
    """A process that is not there any more, and how it went."""

    process: int
    name: str
    how: str
    error: bool
    """True if it ended with an error of its own, which this one may have as well."""


class Supervisor:
    """The parent's end.

    Args:
        job: which process this is, of how many.
        links: the connections from `train.processes.meeting.meet`.
        child: the process id of the child.
        control: the connection to its `Worker`.
        errors: the file descriptor where the child's C++ code writes.
        complain: where a message goes that says why the child was ended.
        again: what the user can do then.
    """

    def __init__(
        self,
        job: Job,
        links: dict[int, Link],
        child: int,
        control: socket.socket,
        errors: int,
        complain: Callable[[str], None],
        again: str,
    ):
        self.job, self.links, self.child = job, links, child
        self.control, self.errors, self.complain, self.again = control, errors, complain, again
        self.finished: set[int] = set()
        self.ended_at: float | None = None
        self.loss: _Loss | None = None
        self.lost_at = self.told_at = 0.0
        self.crash: tuple[int, float] | None = None
        self.child_told = False
        self.held: deque[tuple[float, bytes]] = deque()
        self.selector = selectors.DefaultSelector()

    def watch(self) -> int:
        """Wait for the end of the work, here and elsewhere; returns the exit status.

        KeyboardInterrupt if the child had to be ended after Ctrl-C.
        """
        os.set_blocking(self.errors, False)
        self.control.setblocking(False)
        for file in (self.control, self.errors, *self.links.values()):
            self.selector.register(file, selectors.EVENT_READ)
        with _noted_signals() as noted, self.selector:
            try:
                while (status := self._step(noted)) is None:
                    pass
                return status
            finally:
                self._kill()
                for link in self.links.values():
                    link.close()

    def _step(self, noted: dict[int, float]) -> int | None:
        for key, _ in self.selector.select(TICK_SECONDS):
            if isinstance(key.fileobj, Link):
                self._hear(key.fileobj)
            elif key.fileobj is self.control:
                self._hear_child()
            else:
                self._read_errors()
        now = time.monotonic()
        self._keep_in_touch(now)
        if not (self.loss or self.crash):
            self._write_errors(now - HOLD_SECONDS)
        status = self._of_child(now)
        if status is None and self.ended_at is None:
            status = self._of_loss(now)
        if status is None:
            status = self._of_signals(noted, now)
        return status

    # What the others say.

    def _hear(self, link: Link) -> None:
        process = next(i for i, other in self.links.items() if other is link)
        try:
            for message in link.receive():
                if message.get("finished"):
                    self._finish(process)
                elif message.get("all_finished"):
                    self._end()
                elif "gone" in message:
                    who = process if self.job.process == 0 else message["gone"]
                    name = link.name if who == process else printable(message.get("name", ""))
                    how, error = printable(message.get("how", "")), bool(message.get("error"))
                    self._lose(_Loss(who, name, how, error))
        except LostError as error:
            self.selector.unregister(link)
            how = f"has gone without a goodbye ({error}): killed, out of memory, or off the network"
            self._lose(_Loss(process, link.name, how, error=False))

    def _lose(self, loss: _Loss) -> None:
        if self.loss is None and self.ended_at is None:
            self.loss, self.lost_at = loss, time.monotonic()
            self._tell(loss)

    def _tell(self, loss: _Loss) -> None:
        about = {"name": loss.name, "how": loss.how, "error": loss.error}
        for process, link in self.links.items():
            if process != loss.process:
                link.send(gone=loss.process, **about)

    def _keep_in_touch(self, now: float) -> None:
        if now - self.told_at >= ALIVE_SECONDS:
            self.told_at = now
            for link in self.links.values():
                link.send(alive=True)
        for process, link in self.links.items():
            if now - link.heard > SILENCE_SECONDS:
                how = f"has been silent for {SILENCE_SECONDS:.0f} s: stopped, or off the network"
                self._lose(_Loss(process, link.name, how, error=False))

    # What the child does.

    def _hear_child(self) -> None:
        words = b""
        with contextlib.suppress(OSError):
            words = self.control.recv(16)
        if not words:
            with contextlib.suppress(KeyError):
                self.selector.unregister(self.control)
        if b"t" in words:
            self.child_told = True
        if b"f" in words and self.job.process == 0:
            self._finish(0)
        elif b"f" in words:
            self.links[0].send(finished=True)

    def _finish(self, process: int) -> None:
        self.finished.add(process)
        if len(self.finished) == self.job.processes:
            for link in self.links.values():
                link.send(all_finished=True)
            self._end()

    def _end(self) -> None:
        self.ended_at = time.monotonic()
        with contextlib.suppress(OSError):
            self.control.sendall(b"e")

    def _of_child(self, now: float) -> int | None:
        """The exit status if the child has ended by itself."""
        if self.ended_at is not None and now - self.ended_at > END_SECONDS:
            self._kill()
            return 0
        if self.crash is None:
            if not self.child:
                return None
            pid, status = os.waitpid(self.child, os.WNOHANG)
            if not pid:
                return None
            self.child = 0
            self._hear_child()
            self._read_errors()
            self.crash = os.waitstatus_to_exitcode(status), now
        code, at = self.crash
        if self.ended_at is not None:
            self._write_errors(now)
            return 0
        if self.child_told:
            if not (self.loss or code in (2, 130)):  # those are of the user, not of the runtime
                self._write_errors(now)
            error = "has ended with an error, which its output names"
            self._leave("was stopped by Ctrl-C" if code == 130 else error, True)
            return code or 1
        if self.loss or (code != -signal.SIGKILL and now - at < NEWS_SECONDS):
            return None  # a peer that has gone may be the cause
        self._write_errors(now)
        how = (
            f"was ended by {signal.Signals(-code).name}" if code < 0 else "has ended without a word"
        )
        how += ", as systems do when memory runs out" if code == -signal.SIGKILL else ""
        self._leave(how, False)
        me = f"process {self.job.process} of {self.job.processes}, this one,"
        self.complain(f"{me} {how}; {self.again}")
        return 128 - code if code < 0 else code or 1

    def _of_loss(self, now: float) -> int | None:
        """The exit status if another process has gone, with which nothing can be done any more."""
        loss = self.loss
        if loss is None or (loss.error and self.child and now - self.lost_at < GRACE_SECONDS):
            return None
        self._kill()
        self.complain(
            f"process {loss.process} of {self.job.processes} ({loss.name}) {loss.how}. Process "
            f"{self.job.process} has stopped, too: see the output of process {loss.process} and "
            f"its machine, then {self.again}"
        )
        return 1

    def _of_signals(self, noted: dict[int, float], now: float) -> int | None:
        for number, at in noted.items():
            if number == signal.SIGINT:
                if now - at > INTERRUPT_SECONDS:
                    self._kill()
                    self._leave("was stopped by Ctrl-C", False)
                    raise KeyboardInterrupt
            else:
                name = signal.Signals(number).name
                self._kill()
                self._leave(f"was stopped by {name}", False)
                self.complain(f"stopped by {name}; {self.again}")
                return 128 + number
        return None

    def _leave(self, how: str, error: bool) -> None:
        if self.loss is None:
            about = {"name": socket.gethostname(), "how": how, "error": error}
            leave(self.links.values(), gone=self.job.process, **about)

    def _kill(self) -> None:
        if self.child:
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
            self.child = 0

    def _read_errors(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.errors, 1 << 16):
                self.held.append((time.monotonic(), data))
            with contextlib.suppress(KeyError):  # all that could write has ended
                self.selector.unregister(self.errors)

    def _write_errors(self, until: float) -> None:
        while self.held and self.held[0][0] <= until:
            with contextlib.suppress(OSError):
                os.write(2, self.held.popleft()[1])


def divide(
    job: Job, links: dict[int, Link], complain: Callable[[str], None], again: str
) -> Worker | Supervisor:
    """Fork this process: the child gets a `Worker` and goes on, the parent gets a `Supervisor`."""
    control, inner = socket.socketpair()
    errors, writing = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with warnings.catch_warnings():
        # NumPy's threads, which Python counts, do nothing yet and survive a fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        inner.close()
        os.close(writing)
        return Supervisor(job, links, child, control, errors, complain, again)
    control.close()
    os.close(errors)
    for link in links.values():  # else they would not close when the parent ends
        link.close()
    return Worker(inner, writing)


@contextlib.contextmanager
def _noted_signals() -> Iterator[dict[int, float]]:
    """Signals that would end this process, and when they came first."""
    noted: dict[int, float] = {}
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    # What was ignored before, as under nohup, stays ignored.
    numbers = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
    before = {
        number: signal.signal(number, lambda n, _: noted.setdefault(n, time.monotonic()))
        for number in numbers
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
