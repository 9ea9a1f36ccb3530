"""Several processes, on one host or on many, that train one network together.

Every process runs the same program on its own devices: the batch is shared out over all of them,
and each holds all parameters. Only the first process has the run folder that the user named. The
others have a copy in a temporary folder, so that they do what it does without asking at each step.
"""

import argparse
import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HEARTBEAT_SECONDS = 30
"""After so long without a sign of life a process counts as dead."""


@dataclass(frozen=True)
class Distributed:
    """How the processes find each other; None for what JAX finds out by itself."""

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None


def take_options(arguments: list[str]) -> tuple[Distributed | None, list[str]]:
    """What the command line says about processes, and the rest of it. ValueError for a part of it
    without ``--distributed``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--distributed", action="store_true")
    parser.add_argument("--coordinator")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--process", type=int)
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
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise ValueError(
            f"`{missing[0]}` is missing: give coordinator, processes and process, or none of them "
            "under SLURM, Open MPI, Kubernetes and on TPU pods"
        )
    return Distributed(**given), rest


def option_words(options: Distributed | None) -> list[str]:
    """The words on the command line that `take_options` made into ``options``."""
    if options is None:
        return []
    given = {name: value for name, value in vars(options).items() if value is not None}
    return ["--distributed", *(w for n, value in given.items() for w in (f"--{n}", str(value)))]


def run_distributed(
    options: Distributed, arguments: list[str], dispatch: Callable[[list[str]], int]
) -> int:
    """Join the other processes and run ``dispatch(arguments)`` together with them.

    If one of them dies, this one ends with a message and the status 1.

    Raises:
        ValueError: JAX cannot tell how the processes find each other.
    """
    import jax

    # Between CPUs; GPUs and TPUs have their own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            options.coordinator,
            options.processes,
            options.process,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except ValueError as error:
        raise ValueError(
            f"cannot tell how the processes find each other ({error}): give --coordinator "
            "HOST:PORT --processes N --process I, with I from 0 to N - 1"
        ) from None
    first = jax.process_index() == 0
    with tempfile.TemporaryDirectory(prefix="gconv_jax-") as folder:
        try:
            arguments = _with_own_run(arguments, Path(folder) / "run", first)
            if not first:
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (until the process ends)
            status = dispatch(arguments)
        except jax.errors.JaxRuntimeError as error:
            _leave(error)
        except KeyboardInterrupt:
            if first:
                raise
            raise KeyboardInterrupt from None  # its run folder is a copy: not one to name
    jax.distributed.shutdown()
    return status


def _leave(error: Exception) -> None:
    """End without the goodbyes of JAX, which would wait for those that are not there any more."""
    print(
        "python -m train: error: another process of this job has stopped or cannot be reached "
        f"({str(error).splitlines()[0][:200]}); start all of them again with --resume and the run "
        "folder",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _with_own_run(arguments: list[str], own: Path, first: bool) -> list[str]:
    """The command line with the run folder of this process: what the user named in the first, a
    copy of it as it is now in the others."""
    arguments = [part for a in arguments for part in _parted(a)]
    place = next((i for i, a in enumerate(arguments) if a in ("--run", "--resume")), None)
    if place is None:
        return arguments if first else [*arguments, "--run", str(own)]
    if place + 1 == len(arguments):
        raise ValueError(f"`{arguments[place].removeprefix('--')}` needs a folder")
    _copy_to_others(Path(arguments[place + 1]), own, first)
    if first:
        return arguments
    return [*arguments[: place + 1], str(own), *arguments[place + 2 :]]


def _parted(argument: str) -> list[str]:
    for name in ("--run", "--resume"):
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
