"""Values that are made once in a process, whichever threads ask for them, and kept."""

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# There is one lock for all functions: they call each other, and with a lock for each of them they
# could wait for each other's.
_lock = threading.RLock()
# A child must not inherit a lock that a thread of its parent holds: that thread is not there.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def once(function: Callable[P, T]) -> Callable[P, T]:
    """Make each value of a function once, and keep it: ``functools.cache`` with a lock.

    ``functools.cache`` lets two threads that ask at the same time both run the function. That
    registers a library twice, or frees what the first thread still uses.

    Args:
        function: a function of hashable positional arguments. It must not wait for a program of
            JAX, which may itself wait for the lock. An exception is not kept.

    >>> import itertools
    >>> numbers = itertools.count()
    >>> number = once(lambda name: next(numbers))
    >>> number("a"), number("b"), number("a")
    (0, 1, 0)
    """
    made: dict[tuple, Any] = {}

    @functools.wraps(function)
    def get(*key):
        try:
            return made[key]  # reading needs no lock
        except KeyError:
            pass
        with _lock:
            if key not in made:
                made[key] = function(*key)  # pyright: ignore[reportCallIssue]
            return made[key]

    return get  # pyright: ignore[reportReturnType]


def keep(thing: T) -> T:
    """Keep an object until the process ends, even when the interpreter clears its modules.

    It is for objects whose address is held by code outside Python.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    return thing
