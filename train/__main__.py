"""``python -m train``: the command line.

python -m train                             the main job, on embedded data
python -m train PRESET [--options]          train a recipe
python -m train --resume RUN                continue a run
python -m train evaluate RUN                evaluate a finished run
python -m train predict RUN IMAGE...        classify image files
python -m train export RUN                  a file that runs without this library
python -m train compare RUN RUN...          one table and one picture of several runs
python -m train table NAME [--seeds N]      reproduce a published table
python -m train list                        the recipes
"""

import difflib
import importlib
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from train.config import Config
from train.errors import TrainingDivergedError
from train.presets import PRESETS

PROGRAM = "python -m train"
OTHERS = {
    "digits": "Z2CNN beside P4CNN on embedded digits: the main job, and what runs by default.",
    "evaluate": "Evaluate a finished run again.",
    "predict": "Classify image files with a finished run.",
    "export": "Write the network of a finished run to a file that runs without this library.",
    "compare": "Put finished runs side by side.",
    "table": "Reproduce a published table, row by row.",
    "list": "List the recipes.",
}
COMMANDS = {
    "digits": ("train.digits", "Digits", "digits"),
    "evaluate": ("train.predict", "Evaluate", "evaluate"),
    "predict": ("train.predict", "Predict", "predict"),
    "export": ("train.export", "Export", "export"),
    "compare": ("train.compare", "Compare", "compare"),
    "table": ("train.table", "Table", "table"),
}
"""Name -> (module, dataclass of its options, function that takes them)."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Continue a run that was interrupted, or add epochs to one."""

    resume: Path
    """The run folder."""
    epochs: int | None = None
    """Train to this epoch instead of the one that the run was started with."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors of the user are one line, without a
    traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # progress is to be seen in a file, too
    try:
        return _dispatch(arguments)
    except (ValueError, TypeError, OSError) as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    except TrainingDivergedError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "with --resume and the run folder, or a table with the same command"
        print(f"\n{PROGRAM}: stopped; continue {again}", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] in (["-h"], ["--help"]):
        print(_overview())
        return 0
    _remember_compilations()
    if any(a == "--resume" or a.startswith("--resume=") for a in arguments):
        return _resume(arguments)
    if not arguments or arguments[0].startswith("-"):
        arguments = ["digits", *arguments]
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


def _parse(kind, name: str, rest: list[str], **options):
    return tyro.cli(kind, prog=f"{PROGRAM} {name}", args=rest, **options)


def _remember_compilations() -> None:
    """Keep compiled programs on disk, unless the user has set where (JAX_COMPILATION_CACHE_DIR)."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "gconv_jax" / "xla"))


def _train(name: str, rest: list[str]) -> None:
    description, default = PRESETS[name]
    config = _parse(Config, name, rest, default=default, description=description)
    from train.loop import train
    from train.seeds import summary, train_seeds

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
    from train.digits import is_digits, resume_digits
    from train.loop import resume
    from train.rundir import Run
    from train.seeds import is_seeds, resume_seeds, summary

    if is_digits(options.resume):
        if preset not in (None, "digits"):
            raise ValueError(f"{options.resume} began as preset digits, not {preset}")
        if options.epochs is not None:
            raise ValueError("`epochs` of the main job cannot be changed; resume one of its runs")
        resume_digits(options.resume)
        return 0
    if is_seeds(options.resume):
        print(summary(resume_seeds(options.resume, epochs=options.epochs)))
        return 0
    run = Run.open(options.resume)
    if preset not in (None, run.config.preset):
        raise ValueError(f"{options.resume} began as preset {run.config.preset}, not {preset}")
    resume(options.resume, epochs=options.epochs)
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


if __name__ == "__main__":
    sys.exit(main())
