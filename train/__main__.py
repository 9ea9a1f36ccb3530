"""``python -m train``: the command line.

Installed from a wheel, the same program is ``gconv-train``.
"""

import difflib
import functools
import importlib
import io
import itertools
import multiprocessing
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import tyro
except ModuleNotFoundError:
    sys.exit('the training program needs more packages: pip install "gconv_jax[train]"')

from .distributed import Distributed, option_words, run_distributed, take_options
from .errors import TrainingDivergedError
from .options.networks import NETWORKS, describe_network
from .processes.large_pages import restart_with_large_pages
from .recipes.presets import GROUPS, PRESETS, group_of
from .recipes.typed_options import configure
from .run_folder.command_line import PROGRAM, command

NEEDED = (
    *("matplotlib", "optax", "psutil", "safetensors", "sklearn", "tensorboardX"),
    *("tensorflow_datasets", "tqdm"),
)
"""The modules that the extra ``train`` brings, beside tyro."""
STOPPED = 130
"""The exit status after Ctrl-C, the same as that of shells."""
UNREAD = 141
"""The exit status if nobody reads what is printed any more, the same as that of shells."""
OTHERS = {
    "digits": "train a plain CNN beside a G-CNN on embedded digits; the default",
    "evaluate": "measure a run again, finished or not, or on new labelled images (--data DIR)",
    "predict": "classify image files or folders of them with a run; --output makes a table",
    "features": "write the features of images, which the classes are made of, to a file",
    "export": "write the network of a run to a file or folder for other programs, and for this one",
    "report": "write the report of a run again",
    "compare": "put runs side by side: one table, one picture, one slider",
    "table": "reproduce a published table, row by row",
    "list": "show the recipes of a group, or the networks (--models)",
}
COMMANDS = {
    "digits": (".commands.digits", "Digits", "digits"),
    "evaluate": (".commands.evaluate", "Evaluate", "evaluate"),
    "predict": (".commands.predict", "Predict", "predict"),
    "features": (".commands.features", "Features", "features"),
    "export": (".commands.export", "Export", "export"),
    "report": (".commands.report", "Report", "report"),
    "compare": (".commands.compare", "Compare", "compare"),
    "table": (".commands.table", "Table", "table"),
}
"""Name -> (module, dataclass of its options, function that takes them)."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status. A user's mistake is one line, without a
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
    except BrokenPipeError as error:
        if _has_reader(sys.stdout):  # it is another pipe
            print(f"{PROGRAM}: error: {error}", file=sys.stderr)
            return 2
        return UNREAD
    except (ValueError, TypeError, OSError, ImportError) as error:  # the last: of extras
        missing = isinstance(error, ModuleNotFoundError) and error.name in NEEDED
        remedy = '; pip install "gconv_jax[train]"' if missing else ""
        print(f"{PROGRAM}: error: {error}{remedy}", file=sys.stderr)
        return 2
    except TrainingDivergedError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"\n{PROGRAM}: stopped{_how_to_go_on(stop, given, several)}", file=sys.stderr)
        return STOPPED


def _has_reader(output: Any) -> bool:
    """Return whether what is printed is read. If not, as behind ``| head``, the rest is dropped."""
    if not hasattr(select, "poll"):  # Windows
        return True
    state = select.poll()
    state.register(output.fileno(), 0)
    if not any(events & select.POLLERR for _, events in state.poll(0)):
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())  # for the flush at the end
    return False


def _how_to_go_on(stop: KeyboardInterrupt, given: list[str], several: Distributed | None) -> str:
    """The line to type after an interruption, if there is one."""
    same = given[:1] == ["table"] or _has("--compare-plain", given)
    if same or (_has("--resume", given) and not stop.args):
        return f"; continue with\n  {command(*given)}"
    if not stop.args:  # nothing was begun
        return ""
    (folder,) = stop.args
    return f"; continue with\n  {command('--resume', folder, *option_words(several))}"


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] in (["-h"], ["--help"]):
        print(_overview())
        return 0
    if arguments[:1] == ["--version"]:
        print(f"{PROGRAM} {_version()}")
        return 0
    if _has("--resume", arguments):
        return _resume(arguments)
    if not arguments or arguments[0].startswith("-"):
        arguments = [_recipe_of(arguments), *arguments]
    command, *rest = arguments
    if command in PRESETS:
        _train(command, rest)
    elif command == "list":
        _list(rest)
    elif command in COMMANDS:
        module, kind, function = COMMANDS[command]
        module = importlib.import_module(module, __package__)  # only now: they import jax
        options = _parse(getattr(module, kind), command, rest)
        _remember_compilations()
        getattr(module, function)(options)
    else:
        near = difflib.get_close_matches(command, [*OTHERS, *PRESETS], n=3, cutoff=0.55)
        hint = f"did you mean {' or '.join(f'`{name}`' for name in near)}? " if near else ""
        raise ValueError(
            f"unknown command or recipe `{command}`; {hint}{PROGRAM} --help shows the commands, "
            f"and {PROGRAM} list the recipes"
        )
    return 0


def _version() -> str:
    from gconv_jax import __version__

    return __version__


def _recipe_of(arguments: list[str]) -> str:
    """Return the recipe of a command line that names none."""
    data = _value("--data", arguments)
    if not _has("--data", arguments):
        one = _has("--model", arguments) or _has("--init", arguments)
        return "digits-p4cnn" if one else "digits"
    task = _value("--task", arguments)
    masks = task == "segmentation"
    flat, solid = ("folder-masks", "folder-voxel-masks") if masks else ("folder", "folder-voxels")
    if data is None or not (path := Path(data).expanduser()).is_file():
        return flat  # which says what is wrong
    from .data.array_file import ArrayFile
    from .data.layouts import is_array_file
    from .data.mask_arrays import MaskArrays

    if not is_array_file(path):
        return flat
    arrays = MaskArrays(path) if masks else ArrayFile(path, numbers=task == "regression")
    if not arrays.has_volumes:
        return flat
    print(f"{path} has volumes: this is the recipe {solid}")
    return solid


def _value(option: str, arguments: list[str]) -> str | None:
    """Return the word that is given to an option; None if there is none."""
    for word, after in itertools.zip_longest(arguments, arguments[1:]):
        if word == option:
            return after
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _has(option: str, arguments: list[str]) -> bool:
    return any(a == option or a.startswith(f"{option}=") for a in arguments)


def _parse(kind, name: str, rest: list[str]):
    return tyro.cli(kind, prog=f"{PROGRAM} {name}".rstrip(), args=rest)


def _remember_compilations() -> None:
    """Keep compiled programs on disk, unless the user has set where (JAX_COMPILATION_CACHE_DIR), or
    that none are kept (JAX_ENABLE_COMPILATION_CACHE)."""
    import jax

    config: Any = jax.config  # whose attributes are made at run time
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gconv_jax" / "xla"
    if not cache.exists():
        print(
            f"compiled programs are kept in {cache}; JAX_COMPILATION_CACHE_DIR moves them, and "
            "JAX_ENABLE_COMPILATION_CACHE=false keeps none",
            file=sys.stderr,
        )
    config.update("jax_compilation_cache_dir", str(cache))
    # Small programs, too: those that draw parameters take seconds together.
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _train(name: str, rest: list[str]) -> None:
    config = configure(name, rest)
    _remember_compilations()
    if config.compare_plain:
        from .commands.compare_plain import compare_plain

        compare_plain(config)
        return
    from .loop import train
    from .seeds import summary, train_seeds

    if config.seeds == 1:
        train(config)
    else:
        print(summary(train_seeds(config)))


def _list(rest: list[str]) -> None:
    """Print the groups of recipes, the recipes of one group, or the networks."""
    if rest == ["--models"]:
        print(_lines({name: describe_network(name) for name in NETWORKS}))
    elif not rest:
        print(_lines({name: f"{text} ({_count(name)})" for name, text in GROUPS.items()}))
        print(
            f"\n{PROGRAM} list GROUP shows the recipes of one, {PROGRAM} list --models the networks"
        )
    elif len(rest) == 1 and rest[0] in GROUPS:
        found = {n: r for n, r in PRESETS.items() if group_of(n) == rest[0]}
        print(_lines({n: f"{text} {config.epochs} epochs." for n, (text, config) in found.items()}))
    else:
        near = difflib.get_close_matches(rest[0], GROUPS, n=3, cutoff=0.5)
        raise ValueError(
            f"`list` takes one of {', '.join(near or GROUPS)}, or --models; got {' '.join(rest)}"
        )


def _count(group: str) -> str:
    count = sum(group_of(name) == group for name in PRESETS)
    return f"{count} recipe{'s' * (count != 1)}"


def _lines(texts: dict[str, str]) -> str:
    width = max(map(len, texts))
    return "\n".join(f"  {name:{width}}  {text}" for name, text in texts.items())


def _resume(arguments: list[str]) -> int:
    # A preset before --resume is allowed if the run began as it.
    preset = None if arguments[0].startswith("-") else arguments[0]
    from .commands.resume import Resume, resume

    options = _parse(Resume, "", arguments if preset is None else arguments[1:])
    _remember_compilations()
    resume(options, preset)
    return 0


def _overview() -> str:
    """Return the help: one screen."""
    return f"""usage: {PROGRAM} [COMMAND or RECIPE] [options]

{PROGRAM}                           the main job, on embedded data
{PROGRAM} --data DIR                your own images: class folders, or a CSV file
{PROGRAM} --data DIR --init NAME    the same, from a ready network, or one of yours
{PROGRAM} --data DIR --task segmentation    images and masks
{PROGRAM} --model FILE.py:NAME      your own Flax module, on the digits or with --data
{PROGRAM} RECIPE [options]          train a recipe
{PROGRAM} --resume RUN              continue a run

commands:
{_lines(OTHERS)}

recipes, by the first word of their names ({PROGRAM} list GROUP shows them):
{_lines(GROUPS)}

options of each: {PROGRAM} NAME --help        version: {PROGRAM} --version
several processes: add --distributed to the same command in each, under SLURM, Open MPI, Kubernetes
or on a TPU pod; elsewhere --coordinator HOST:PORT --processes N --process I, too (--wait SECONDS)
documentation: https://gconv-jax.github.io/gconv_jax/"""


def _leave_at_once() -> None:
    """End without the goodbyes of JAX, which crash after an interruption of compiled code."""
    for worker in multiprocessing.active_children():  # those that read images
        worker.terminate()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(STOPPED)


def console() -> None:
    """Run the command line and end the process: the program ``gconv-train``."""
    restart_with_large_pages()
    status = main()
    if status == STOPPED:
        _leave_at_once()
    sys.exit(status)


if __name__ == "__main__":
    console()
