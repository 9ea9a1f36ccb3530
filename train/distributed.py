"""Several processes, on one host or on many, that train one network together.

Every process runs the same program on its own devices: the batch is shared out over all of them,
and each holds all parameters. Only the first process has the run folder that the user named. The
others have a copy in a temporary folder, so that they do what it does without asking at each step.

They meet before JAX starts (`train.processes.meeting`), and a parent of each watches from then on
whether all are there (`train.processes.supervisor`).
"""

import argparse
import importlib.metadata
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .processes.links import Job
from .processes.meeting import meet
from .processes.supervisor import Worker, divide
from .run_folder.command_line import PROGRAM

WAIT_SECONDS = 60.0
NEWS_SECONDS = 10.0
"""An error of JAX is shown after so long, if by then no other process is known to have gone."""
OWN = ("--run", "--resume", "--data", "--raw-dir", "--data-dir", "--workers")
"""Options whose values may differ between the processes."""
DETECT = """
import json, os, sys
from jax._src import clusters
given = os.environ.get("JAX_COORDINATOR_ADDRESS"), None, None, []
found = clusters.ClusterEnv.auto_detect_unset_distributed_params(*given, None, int(sys.argv[1]))
print(json.dumps(found[:3]))
"""
"""A program of its own, since no process may fork after it has imported JAX."""


@dataclass(frozen=True)
class Distributed:
    """The way in which the processes find each other; JAX finds out by itself what is None."""

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    wait: float = WAIT_SECONDS


def take_options(arguments: list[str]) -> tuple[Distributed | None, list[str]]:
    """Return what the command line says about processes, and the rest of it. ValueError for a part
    of it without ``--distributed``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--distributed", action="store_true")
    parser.add_argument("--coordinator")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--process", type=int)
    parser.add_argument("--wait", type=float)
    try:
        found, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None
    given = {name: value for name, value in vars(found).items() if name != "distributed"}
    if not found.distributed:
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"`{name}` needs --distributed beside it, got {value!r}")
        return None, rest
    wait = given.pop("wait")
    if wait is None:
        wait = WAIT_SECONDS
    elif not 0 < wait < math.inf:
        raise ValueError(f"`wait` must be a number of seconds above 0, got {wait}")
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise ValueError(
            f"`{missing[0]}` is missing: give coordinator, processes and process, or none of them "
            "under SLURM, Open MPI, Kubernetes and on TPU pods"
        )
    return Distributed(**given, wait=wait), rest


def option_words(options: Distributed | None) -> list[str]:
    """The words on the command line that `take_options` made into ``options``."""
    if options is None:
        return []
    given = {name: value for name, value in vars(options).items() if value is not None}
    return ["--distributed", *(w for n, value in given.items() for w in (f"--{n}", str(value)))]


def run_distributed(
    options: Distributed,
    arguments: list[str],
    dispatch: Callable[[list[str]], int],
    reported: Callable[[Callable[[], int]], int],
) -> int:
    """Meet the other processes and run ``dispatch(arguments)`` together with them.

    If one of them ends early, this one ends with a message and a status that is not 0.

    Args:
        options: how the processes find each other.
        arguments: the rest of the command line.
        dispatch: does the work, in a child process; returns its exit status.
        reported: calls a function and turns what it raises into a message and an exit status.

    Raises:
        ValueError: the options are wrong, or processes do not fit together.
        ConnectionError: somebody did not come in time.
    """
    arguments = [part for a in arguments for part in _parted(a)]
    run = _run_folder(arguments)
    if "jax" in sys.modules:
        raise ValueError(
            "--distributed starts a process, which is not possible after jax is imported: use it "
            "on the command line, `"
            f"{PROGRAM} ... --distributed`"
        )
    job = _find_job(options)
    links = meet(job, _about(arguments), options.wait, _write)
    own = Path(tempfile.mkdtemp(prefix="gconv_jax-"))
    again = f"start all of them again with --resume {run or 'and the run folder'}"
    side = divide(job, links, lambda text: _write(f"error: {text}"), again)
    if isinstance(side, Worker):
        work = _Work(job, arguments, own / "run", dispatch, options.wait)
        return _work(side, lambda: reported(work))
    try:
        return side.watch()
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _write(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)


def _find_job(options: Distributed) -> Job:
    coordinator, processes, process = options.coordinator, options.processes, options.process
    if coordinator is None or processes is None or process is None:
        command = [sys.executable, "-c", DETECT, str(math.ceil(options.wait))]
        try:
            found = subprocess.run(
                command, capture_output=True, text=True, timeout=options.wait + 60
            )
            coordinator, processes, process = json.loads(found.stdout)
            if coordinator is None or processes is None or process is None:
                raise ValueError("none of the clusters that JAX knows")
        except (ValueError, OSError, subprocess.TimeoutExpired) as error:
            raise ValueError(
                f"cannot tell how the processes find each other ({error}): give --coordinator "
                "HOST:PORT --processes N --process I, with I from 0 to N - 1"
            ) from None
    return Job.parse(coordinator, processes, process)


def _about(arguments: list[str]) -> dict[str, str]:
    """Return what has to be the same in all processes: versions, and the command, an option in each
    line."""
    versions = {}
    for package in ("gconv_jax", "jax", "jaxlib", "flax"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "of an unknown version"
    lines, option = [""], ""
    for part in arguments:
        name, equals, value = part.partition("=")
        if name.startswith("--"):
            option = name
            lines.append(name)
            part = value if equals else ""
        if part and option not in OWN:
            lines[-1] += f" {part}" if lines[-1] else part
    return {**versions, "command": "\n".join([lines[0], *sorted(lines[1:])])}


def _work(worker: Worker, work: Callable[[], int]) -> int:
    """Do the work of this process, then wait for the others; ends the process if that fails."""
    status = 1
    try:
        status = work()
        if status == 0:
            worker.finish()
    except SystemExit as end:  # of the parser, which has printed a message or the help
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    if status != 0:
        # Without the goodbyes of JAX, which would wait for the others.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        worker.tell()
        os._exit(status)
    import jax

    jax.distributed.shutdown()
    return 0


@dataclass(frozen=True)
class _Work:
    job: Job
    arguments: list[str]
    own: Path
    """The run folder of a process that is not the first."""
    dispatch: Callable[[list[str]], int]
    wait: float

    def __call__(self) -> int:
        import jax

        # Between CPUs; GPUs and TPUs have their own.
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        first = self.job.process == 0
        try:
            jax.distributed.initialize(
                self.job.address,
                self.job.processes,
                self.job.process,
                initialization_timeout=max(30, math.ceil(self.wait)),
            )
            arguments = _with_own_run(self.arguments, self.own, first)
            if not first:
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (until the process ends)
            return self.dispatch(arguments)
        except KeyboardInterrupt:
            if first:
                raise
            raise KeyboardInterrupt from None  # its run folder is a copy: not one to name
        except Exception as error:
            if isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error):
                # The parent ends this process if another one is the cause.
                time.sleep(NEWS_SECONDS)
            raise


def _run_folder(arguments: list[str]) -> str | None:
    """Return what ``--run`` or ``--resume`` says; ValueError if it says nothing."""
    for option, value in zip(arguments, [*arguments[1:], None], strict=True):
        if option in ("--run", "--resume"):
            if value is None:
                raise ValueError(f"`{option.removeprefix('--')}` needs a folder")
            return value
    return None


def _with_own_run(arguments: list[str], own: Path, first: bool) -> list[str]:
    """The command line with the run folder of this process: what the user named in the first, a
    copy of it as it is now in the others."""
    place = next((i for i, a in enumerate(arguments) if a in ("--run", "--resume")), None)
    if place is None:
        return arguments if first else [*arguments, "--run", str(own)]
    _copy_to_others(Path(arguments[place + 1]), own, first)
    if first:
        return arguments
    return [*arguments[: place + 1], str(own), *arguments[place + 2 :]]


def _parted(argument: str, options: Sequence[str] = ("--run", "--resume")) -> list[str]:
    for name in options:
        if argument.startswith(f"{name}="):
            return argument.split("=", 1)
    return [argument]


def _copy_to_others(folder: Path, own: Path, first: bool) -> None:
    packed = io.BytesIO()
    if first and folder.is_dir():
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, arcname=".")
    content = _from_the_first(packed.getvalue())
    if content and not first:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(own, filter="data")


def _from_the_first(content: bytes) -> bytes:
    """The bytes that the first process has, in all of them."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    length = int(broadcast_one_to_all(np.int32(len(content))))
    buffer = np.zeros(length, np.uint8)
    if len(content) == length:
        buffer[:] = np.frombuffer(content, np.uint8)
    return bytes(np.asarray(broadcast_one_to_all(buffer))) if length else b""
