"""The meeting of the processes of a job, before JAX starts: who is here, and who is not.

JAX waits for minutes without a word and then aborts, which no Python code can catch. So the first
process listens at the coordinator's address for the others, and says who is missing. The
connections stay open: one that closes tells at once that a process has gone. When all have met, the
first stops listening, and JAX's coordinator takes the port over.

Messages are lines of JSON, small, and nothing in them is run. Whoever can reach the port can take
part, as with JAX's coordinator.
"""

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable
from typing import NoReturn

from .links import SILENCE_SECONDS, Job, Link, LostError, leave, printable

PROTOCOL = "gconv_jax meeting 1"
REPEAT_SECONDS = 10.0
"""A line that says who is here is repeated so often."""
RETRY_SECONDS = 0.5
MOST_STRANGERS = 64
"""The number of connections that may be open without having said who they are."""

Say = Callable[[str], None]


def meet(job: Job, about: dict[str, str], wait: float, log: Say) -> dict[int, Link]:
    """Wait until all processes of the job are here.

    Args:
        job: which process this is, of how many.
        about: what has to be the same in all of them, by name.
        wait: seconds to wait for the others.
        log: where lines go that count who is here.

    Returns:
        The connections: of the first process to each of the others, of those to the first.

    Raises:
        ConnectionError: somebody did not come in time; says who, where, and what to check.
        ValueError: two processes have one number, or differ in what they are ``about``; raised in
            all of them.
    """
    if job.processes == 1:
        return {}
    return _Host(job, about, log).gather(wait) if job.process == 0 else _join(job, about, wait, log)


class _Host:
    """The first process while it waits for the others."""

    def __init__(self, job: Job, about: dict[str, str], log: Say):
        self.job, self.about, self.log = job, about, log
        self.name = socket.gethostname()
        self.guests: dict[int, Link] = {}
        self.selector = selectors.DefaultSelector()

    def gather(self, wait: float) -> dict[int, Link]:
        deadline, said = time.monotonic() + wait, -REPEAT_SECONDS
        before: set[int] | None = None
        with _listen(self.job) as listener, self.selector:
            self.selector.register(listener, selectors.EVENT_READ)
            while len(self.guests) < self.job.processes - 1:
                now = time.monotonic()
                if now >= deadline:
                    self._refuse(ConnectionError, self._missing(wait))
                if before != set(self.guests) or now - said >= REPEAT_SECONDS:
                    before, said = set(self.guests), now
                    self._tell(
                        f"waiting for {_numbers(self._absent())} ({deadline - now:.0f} s left)"
                    )
                for key, _ in self.selector.select(min(deadline - now, RETRY_SECONDS)):
                    self._accept(listener) if key.fileobj is listener else self._hear(key.fileobj)
                self._forget_strangers()
            for link in self._strangers():
                link.close()
        self._tell("starting")
        for link in self.guests.values():
            link.send(all_here=True)
        return self.guests

    def _absent(self) -> list[int]:
        return [i for i in range(1, self.job.processes) if i not in self.guests]

    def _tell(self, what: str) -> None:
        here = f"{len(self.guests) + 1} of {self.job.processes} processes are at {self.job.address}"
        self.log(f"{here}; {what}")
        for link in self.guests.values():
            link.send(log=f"{here}; {what}")

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, address = listener.accept()
            if len(self._strangers()) >= MOST_STRANGERS:
                connection.close()
            else:
                link = Link(connection, address[0].removeprefix("::ffff:"))
                self.selector.register(link, selectors.EVENT_READ)

    def _hear(self, link) -> None:
        try:
            for message in link.receive():
                if link not in self.guests.values():
                    self._greet(link, message)
        except LostError:
            self._drop(link)

    def _drop(self, link: Link) -> None:
        self.guests = {i: guest for i, guest in self.guests.items() if guest is not link}
        self.selector.unregister(link)
        link.close()

    def _greet(self, link: Link, hello: dict) -> None:
        process, processes, about = (hello.get(k) for k in ("process", "processes", "about"))
        numbers = type(process) is int and type(processes) is int
        if hello.get("protocol") != PROTOCOL or not numbers or not isinstance(about, dict):
            raise LostError("a stranger")
        link.name = f"{str(hello.get('host'))[:80]}, {link.name}"
        who = f"process {process} ({link.name})"
        problem = None
        if processes != self.job.processes:
            problem = (
                f"{who} was started with --processes {processes}, process 0 ({self.name}) with "
                f"--processes {self.job.processes}: give all of them the same number"
            )
        elif process in (0, *self.guests):
            other = self.guests[process].name if process else self.name
            problem = (
                f"two processes have the number {process}, on {other} and on {link.name}: start "
                f"each with a --process of its own, from 0 to {processes - 1}"
            )
        elif about != self.about:
            problem = _difference(who, about, f"process 0 ({self.name})", self.about)
        if problem:
            self._refuse(ValueError, problem, link)
        self.guests[process] = link

    def _strangers(self) -> list[Link]:
        open_links = [key.fileobj for key in self.selector.get_map().values()]
        known = list(self.guests.values())
        return [link for link in open_links if isinstance(link, Link) and link not in known]

    def _forget_strangers(self) -> None:
        for link in self._strangers():
            if time.monotonic() - link.since > REPEAT_SECONDS:
                self._drop(link)

    def _missing(self, wait: float) -> str:
        absent = self._absent()
        own = (
            "" if _is_own(self.job.host) else f"; {self.job.host} is not an address of {self.name}"
        )
        numbers = "number" if len(absent) == 1 else "numbers"
        return (
            f"{_processes(absent)} of {self.job.processes} did not come to {self.job.address} "
            f"within {wait:g} s{own}: check that each was started with "
            f"this --coordinator and its own --process ({numbers} {_numbers(absent)}), that its "
            f"machine reaches port {self.job.port} of this one, or give --wait SECONDS"
        )

    def _refuse(self, kind: type[Exception], problem: str, *links: Link) -> NoReturn:
        leave([*self.guests.values(), *links], refused=problem, mistake=kind is ValueError)
        raise kind(problem)


def _listen(job: Job) -> socket.socket:
    # JAX's coordinator will take the port over, so it is bound as JAX binds it.
    bind = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", "").rpartition(":")[0].strip("[]")
    several = bind in ("", "::") and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if several or ":" in bind else socket.AF_INET
    try:
        listener = socket.create_server(
            (bind, job.port), family=family, dualstack_ipv6=several, backlog=128
        )
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise ConnectionError(
            f"process 0 cannot listen at port {job.port} of {socket.gethostname()} ({reason}): "
            "check whether another process 0 or another program has it, or choose another port in "
            "--coordinator"
        ) from None
    listener.setblocking(False)
    return listener


def _join(job: Job, about: dict[str, str], wait: float, log: Say) -> dict[int, Link]:
    """The connection of a later process to the first one, once all have met."""
    started, said, reason = time.monotonic(), -REPEAT_SECONDS, "no answer"
    while (left := started + wait - time.monotonic()) > 0:
        try:
            link = Link(_connect(job, min(5.0, left)), job.address)
        except OSError as error:
            reason = str(error.strerror or error).lower()
        else:
            hello = {"process": job.process, "processes": job.processes, "about": about}
            link.send(protocol=PROTOCOL, host=socket.gethostname(), **hello)
            try:
                _until_all_are_here(job, link, log, left)
                return {0: link}
            except LostError as error:
                reason = str(error)
        if time.monotonic() - said >= REPEAT_SECONDS:
            said = time.monotonic()
            left = max(0.0, started + wait - said)
            log(f"process 0 is not at {job.address} yet: {reason} ({left:.0f} s left)")
        time.sleep(RETRY_SECONDS)
    raise ConnectionError(
        f"process {job.process} cannot reach process 0 at {job.address} within {wait:g} s "
        f"({reason}): check that process 0 runs, on that machine and with the same --coordinator, "
        "and that no firewall closes the port, or give --wait SECONDS"
    )


def _connect(job: Job, timeout: float) -> socket.socket:
    connection = socket.create_connection((job.host, job.port), timeout=timeout)
    if connection.getsockname() == connection.getpeername():
        # TCP may connect to itself where nobody listens.
        connection.close()
        raise ConnectionRefusedError("connection refused")
    return connection


def _until_all_are_here(job: Job, link: Link, log: Say, wait: float) -> None:
    """Listen to the first process; LostError if it closes before it has said anything."""
    greeted, limit = False, min(wait, SILENCE_SECONDS)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(link, selectors.EVENT_READ)
            while True:
                if not selector.select(limit):
                    raise LostError(f"no answer for {limit:.0f} s")
                for message in link.receive():
                    if "refused" in message:
                        kind = ValueError if message.get("mistake") else ConnectionError
                        raise kind(printable(message["refused"]))
                    if "log" in message:
                        greeted, limit = True, SILENCE_SECONDS
                        log(printable(message["log"]))
                    if message.get("all_here"):
                        return
    except LostError as error:
        link.close()
        if greeted:
            raise ConnectionError(
                f"process 0 at {job.address} has gone while it waited for the others ({error}): "
                "see its output, then start all of them again"
            ) from None
        if "something else" in str(error):
            raise ConnectionError(
                f"{job.address} is not waiting for processes ({error}): check that no other "
                "program and no job that has already started has that port, or choose another one"
            ) from None
        raise LostError(f"{error}, as by a job that has already started") from None
    except BaseException:
        link.close()
        raise


def _difference(who: str, theirs: dict, first: str, ours: dict) -> str:
    for name in [*ours, *theirs]:
        mine, other = ours.get(name), theirs.get(name)
        if mine != other and name == "command":
            return (
                f"{who} was started with {_apart(str(other), str(mine))}, {first} with "
                f"{_apart(str(mine), str(other))}: give all of them the same command"
            )
        if mine != other:
            return (
                f"{who} has {name} {printable(other)}, {first} has {name} {mine}: install the "
                "same version everywhere"
            )
    return f"{who} and {first} differ"


def _apart(command: str, other: str) -> str:
    """The lines of a command that another one has not."""
    theirs = other.splitlines()
    only = [part for part in command.splitlines() if part not in theirs]
    return f"`{printable(' '.join(only))}`" if only else "fewer options"


def _is_own(host: str) -> bool:
    """Return whether a name or address is one of this machine, as far as can be told."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
            return True
    return False


def _numbers(which: list[int]) -> str:
    return ", ".join(map(str, which[:20])) + (" and more" if len(which) > 20 else "")


def _processes(which: list[int]) -> str:
    return f"process{'es' if len(which) > 1 else ''} {_numbers(which)}"
