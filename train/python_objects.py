"""The user's Python objects that options name, as ``FILE.py:NAME`` or ``MODULE:NAME``."""

import functools
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType


def split_name(text: str) -> tuple[str, str]:
    """Return the file or module and the name of the object in it.

    >>> split_name("nets/small.py:Net")
    ('nets/small.py', 'Net')
    """
    place, _, name = text.rpartition(":")
    return place, name


def is_file(place: str) -> bool:
    """Return whether the part before the colon is that of a file, and not of a module."""
    return Path(place).suffix == ".py"


def is_object_name(text: str) -> bool:
    """Return whether a text is ``FILE.py:NAME`` or ``MODULE:NAME``.

    >>> is_object_name("track.py:log"), is_object_name("tools.track:log"), is_object_name("log")
    (True, True, False)
    """
    place, name = split_name(text)
    of_module = all(part.isidentifier() for part in place.split("."))
    return name.isidentifier() and (is_file(place) or of_module)


def absolute_name(text: str) -> str:
    """Return the name with the absolute path of its file; that of a module stays as it is."""
    place, name = split_name(text)
    return f"{Path(place).expanduser().absolute()}:{name}" if is_file(place) else text


def source_file(text: str) -> Path | None:
    """Return the file in which an object is defined; None if it is not there."""
    place, _ = split_name(text)
    if is_file(place):
        path = Path(place).expanduser().absolute()
    else:
        _search_here()
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError):  # a package above it, or a module without a file
            return None
        if spec is None or not spec.has_location or spec.origin is None:
            return None
        path = Path(spec.origin)
    return path if path.is_file() else None


def load_object(option: str, text: str, kind: str = "function") -> Callable:
    """Return the function or class that an option names.

    A file is run once, also for several networks in a row, and finds the modules beside it. A
    module may be in the current folder.

    Args:
        option: the option, for errors.
        text: ``FILE.py:NAME`` or ``MODULE:NAME`` (`is_object_name`).
        kind: the words for what it must be.

    Raises:
        ValueError: there is no such file, module or object, or the file cannot be run.
    """
    place, name = split_name(text)
    if is_file(place):
        path = Path(place).expanduser().absolute()
        if not path.is_file():
            raise ValueError(f"`{option}` {text}: there is no file {path}")
    else:
        _search_here()
        path = place
    try:
        module = _imported(path) if isinstance(path, str) else _run_file(path, _digest(path))
    except ModuleNotFoundError as error:
        if isinstance(path, str) and f"{path}.".startswith(f"{error.name}."):
            raise ValueError(
                f"`{option}` {text}: there is no module {error.name} in {os.getcwd()} or among the "
                f"installed ones; name its file, such as {place.rpartition('.')[2]}.py:{name}"
            ) from None
        raise _failed(option, text, path, error) from error
    except Exception as error:
        raise _failed(option, text, path, error) from error
    found = getattr(module, name, None)
    if not callable(found):
        raise ValueError(f"`{option}` {text}: {path} has no {kind} {name}")
    return found


def search_folder(folder: Path) -> None:
    """Let modules be found in a folder, after all others, so that none of those is hidden."""
    if folder.is_dir() and str(folder) not in sys.path:
        sys.path.append(str(folder))


def _search_here() -> None:
    # ``python -m`` looks here by itself, an installed program does not.
    search_folder(Path.cwd())


def _failed(option: str, text: str, path: Path | str, error: Exception) -> ValueError:
    reason = f"{type(error).__name__}: {error}"
    return ValueError(f"`{option}` {text}: {path} cannot be run: {reason}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _imported(name: str) -> ModuleType:
    importlib.invalidate_caches()  # a file that was written a moment ago
    return importlib.import_module(name)


@functools.cache
def _run_file(path: Path, digest: str) -> ModuleType:
    """Return a file as a module whose name hides none of the user's modules, nor of ours."""
    search_folder(path.parent)
    name = f"_gconv_jax_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "every .py file has them"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look for it there
    spec.loader.exec_module(module)
    return module
