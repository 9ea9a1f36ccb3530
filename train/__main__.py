"""``python -m train``: the command line.

python -m train                             the main job, on embedded data
python -m train --data DIR [--options]      train on your own images, in a folder for each class
python -m train PRESET [--options]          train a recipe
python -m train --resume RUN                continue a run
python -m train evaluate RUN                evaluate a run
python -m train predict RUN IMAGE...        classify image files
python -m train export RUN                  a file that runs without this library
python -m train report RUN                  write the report of a run again
python -m train compare RUN RUN...          one table, one picture, one slider for several runs
python -m train table NAME [--seeds N]      reproduce a published table
python -m train list                        the recipes

with several processes, each with the same command and --distributed: one under SLURM, Open MPI,
Kubernetes or on a TPU pod; elsewhere --coordinator HOST:PORT --processes N --process I as well;
they wait for each other as long as --wait SECONDS says (60)
"""

import difflib
import functools
import importlib
import io
import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import tyro

from .config import DATA_PLACES, FOLDER, Config, Group
from .distributed import Distributed, option_words, run_distributed, take_options
from .errors import TrainingDivergedError
from .recipes.presets import PRESETS
from .run_folder.command_line import PROGRAM, command

STOPPED = 130
"""The exit status after Ctrl-C, as of shells."""
OTHERS = {
    "digits": "Z2CNN beside P4CNN on embedded digits: the main job, and what runs by default.",
    "evaluate": "Evaluate a run again, finished or not.",
    "predict": "Classify image files with a run.",
    "export": "Write the network of a run to a file that runs without this library.",
    "report": "Write the report of a run again.",
    "compare": "Put runs side by side.",
    "table": "Reproduce a published table, row by row.",
    "list": "List the recipes.",
}
COMMANDS = {
    "digits": ("train.commands.digits", "Digits", "digits"),
    "evaluate": ("train.commands.evaluate", "Evaluate", "evaluate"),
    "predict": ("train.commands.predict", "Predict", "predict"),
    "export": ("train.commands.export", "Export", "export"),
    "report": ("train.commands.report", "Report", "report"),
    "compare": ("train.commands.compare", "Compare", "compare"),
    "table": ("train.commands.table", "Table", "table"),
}
"""Name -> (module, dataclass of its options, function that takes them)."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Continue a run that was interrupted, or add epochs to one."""

    resume: Path
    """The run folder."""
    epochs: int | None = None
    """Train to this epoch instead of the one that the run was started with."""
    data: Path | None = None
    """The folder of your own images, if it has moved."""
    raw_dir: Path | None = None
    """Where the original files of the data set are, if they have moved."""
    data_dir: Path | None = None
    """Where the prepared data set is, or is to be, if not where it was."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors of the user are one line, without a
    traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # jaxlib 0.10.1 logs an error of 2,000 characters for each program that it takes from its cache
    # on a CPU, and runs it rightly. What is wrong in earnest is raised in Python, too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Progress is to be seen in a file, too; and names of files may hold what is no text.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    return _reported(lambda: _begin(arguments), arguments)


def _begin(given: list[str]) -> int:
    several, arguments = take_options(given)
    if several is None:
        return _dispatch(arguments)
    reported = functools.partial(_reported, given=given, several=several)
    return run_distributed(several, arguments, _dispatch, reported)


def _reported(work: Callable[[], int], given: list[str], several: Distributed | None = None) -> int:
    """Return what ``work`` does; or, for an error of the user, print a line and return an exit
    status. ``given`` is the command line, and ``several`` what it says of other processes."""
    try:
        return work()
    except (ValueError, TypeError, OSError, ImportError) as error:  # the last: of extras
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    except TrainingDivergedError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"\n{PROGRAM}: stopped{_how_to_go_on(stop, given, several)}", file=sys.stderr)
        return STOPPED


def _how_to_go_on(stop: KeyboardInterrupt, given: list[str], several: Distributed | None) -> str:
    """The line to type after an interruption, if there is one."""
    if given[:1] == ["table"] or (_has("--resume", given) and not stop.args):
        return f"; continue with\n  {command(*given)}"
    if not stop.args:  # nothing was begun
        return ""
    (folder,) = stop.args
    return f"; continue with\n  {command('--resume', folder, *option_words(several))}"


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] in (["-h"], ["--help"]):
        print(_overview())
        return 0
    _remember_compilations()
    if _has("--resume", arguments):
        return _resume(arguments)
    arguments = _spelled_out(arguments)
    if not arguments or arguments[0].startswith("-"):
        arguments = ["folder" if _has("--data", arguments) else "digits", *arguments]
    command, *rest = arguments
    if command in PRESETS:
        _train(command, rest)
    elif command == "list":
        _list(rest)
    elif command in COMMANDS:
        module, kind, function = COMMANDS[command]
        module = importlib.import_module(module)  # only now: they import jax
        getattr(module, function)(_parse(getattr(module, kind), command, rest))
    else:
        known = [*OTHERS, *PRESETS]
        near = difflib.get_close_matches(command, known, n=1, cutoff=0.4)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise ValueError(f"unknown command or preset `{command}`; {hint}known: {', '.join(known)}")
    return 0


def _has(option: str, arguments: list[str]) -> bool:
    return any(a == option or a.startswith(f"{option}=") for a in arguments)


def _spelled_out(arguments: list[str]) -> list[str]:
    """``--size 64`` as ``--image-size 64``, since a number is no size of filters, and ``--model
    p4m-resnet`` as ``--model resnet --group p4m``."""
    words: list[str] = []
    for a in arguments:
        words += a.split("=", 1) if a.startswith(("--size=", "--model=")) else [a]
    out: list[str] = []
    for i, word in enumerate(words):
        after, before = "".join(words[i + 1 : i + 2]), out[-1] if out else ""
        group, _, model = word.partition("-")
        if word == "--size" and after.isdigit():
            out.append("--image-size")
        elif before == "--model" and group in get_args(Group) and model:
            if _has("--group", arguments):
                raise ValueError(f"`model` {word} says the group already: leave out --group")
            out += [model, "--group", group]
        else:
            out.append(word)
    return out


def _parse(kind, name: str, rest: list[str], **options):
    return tyro.cli(kind, prog=f"{PROGRAM} {name}", args=rest, **options)


def _remember_compilations() -> None:
    """Keep compiled programs on disk, unless the user has set where (JAX_COMPILATION_CACHE_DIR)."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "gconv_jax" / "xla"))
        # Small programs, too: those that draw parameters take seconds together.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _train(name: str, rest: list[str]) -> None:
    description, default = PRESETS[name]
    if _has("--data", rest):
        default = replace(default, dataset=FOLDER)
    model = dict(itertools.pairwise(rest)).get("--model", default.model)
    if name == "folder" and model != default.model:  # what is there of its size is of the resnet
        default = replace(default, model=model, group=None, blocks=None, width=None)
    config = _parse(Config, name, rest, default=default, description=description)
    from .loop import train
    from .seeds import summary, train_seeds

    if config.seeds == 1:
        train(config)
    else:
        print(summary(train_seeds(config)))


def _list(rest: list[str]) -> None:
    if rest:
        raise ValueError(f"`list` takes no arguments, got {' '.join(rest)}")
    width = max(map(len, PRESETS))
    for name, (description, config) in PRESETS.items():
        print(f"{name:{width}} {description} {config.epochs} epochs.")


def _resume(arguments: list[str]) -> int:
    # A preset before --resume is allowed if the run began as it.
    preset = None if arguments[0].startswith("-") else arguments[0]
    options = _parse(Resume, "", arguments if preset is None else arguments[1:])
    from .commands.digits import is_digits, resume_digits
    from .loop import resume
    from .run_folder.folder import Run
    from .seeds import is_seeds, resume_seeds, summary

    places = {name: getattr(options, name) for name in DATA_PLACES}
    if is_digits(options.resume):
        if preset not in (None, "digits"):
            raise ValueError(f"{options.resume} began as preset digits, not {preset}")
        if options.epochs is not None:
            raise ValueError("`epochs` of the main job cannot be changed; resume one of its runs")
        if any(places.values()):
            given = [f"--{n.replace('_', '-')}" for n, place in places.items() if place]
            raise ValueError(f"the main job reads no files: leave out {', '.join(given)}")
        resume_digits(options.resume)
        return 0
    if is_seeds(options.resume):
        print(summary(resume_seeds(options.resume, epochs=options.epochs, **places)))
        return 0
    run = Run.open(options.resume)
    if preset not in (None, run.config.preset):
        raise ValueError(f"{options.resume} began as preset {run.config.preset}, not {preset}")
    resume(options.resume, epochs=options.epochs, **places)
    return 0


def _overview() -> str:
    usage = __doc__.split("\n", 2)[2].rstrip()
    commands = [f"  {name:24} {text}" for name, text in OTHERS.items()]
    presets = [f"  {name:24} {text}" for name, (text, _) in PRESETS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} [COMMAND or PRESET] [options]",
            "",
            usage,
            "",
            "commands:",
            *commands,
            "",
            "presets:",
            *presets,
            "",
            f"options of each: {PROGRAM} NAME --help",
        ]
    )


def _leave_at_once() -> None:
    """End without the goodbyes of JAX, which crash after an interruption of compiled code."""
    for worker in multiprocessing.active_children():  # those that read images
        worker.terminate()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(STOPPED)


def console() -> None:
    """Run the command line and end the process: the program ``gconv-train``."""
    status = main()
    if status == STOPPED:
        _leave_at_once()
    sys.exit(status)


if __name__ == "__main__":
    console()
