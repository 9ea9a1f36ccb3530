"""The inputs and results of the layers of a Flax model while it runs."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from flax import linen, nnx

Keep = Callable[[str, Any, Any], None]


@contextlib.contextmanager
def capture_layer_outputs(
    model: Callable, keep: Keep, *, enter: Keep | None = None
) -> Iterator[None]:
    """Call ``keep(path, layer, result)`` whenever a layer of a Flax model returns.

    Layers are the modules inside an NNX or a bound Linen module, and inside Linen modules that an
    NNX module calls. They are reported in the order in
    which they return. The model itself is not reported, and other functions report nothing.

    Other threads may use or record models of the same classes meanwhile; their calls are not kept.

    Args:
        model: an NNX module, a bound Linen module, or any other function.
        keep: the function that is called.
        enter: a function that is called with ``(path, layer, arguments)`` before the layer runs.
            The arguments are a tuple of the positional ones, followed by those given by keyword.

    Raises:
        ValueError: a Linen module is not bound.
    """
    enter = enter or _ignore
    if isinstance(model, nnx.Module):
        # Linen modules may be inside (flax.nnx.bridge), each with paths of its own.
        linen_layers = linen.intercept_methods(_interceptor(keep, enter))
        with _recording_nnx(model, keep, enter), linen_layers:
            yield
    elif isinstance(model, linen.Module):
        if model.scope is None:
            raise ValueError("a Linen `model` must be bound: pass module.bind(variables)")
        with linen.intercept_methods(_interceptor(keep, enter)):  # Flax has one for each thread
            yield
    else:
        yield


def _ignore(path: str, layer, arguments) -> None:
    pass


def _interceptor(keep: Keep, enter: Keep):
    def interceptor(next_fun, args, kwargs, context):
        path = ".".join(context.module.path)
        kept = context.method_name == "__call__" and path
        if kept:
            enter(path, context.module, (*args, *kwargs.values()))
        y = next_fun(*args, **kwargs)
        if kept:
            keep(path, context.module, y)
        return y

    return interceptor


# NNX has no interceptors: `nnx.capture`, in later versions, replaces methods of classes for all
# threads as well. So while something is recorded, ``__call__`` of the classes in the model is a
# function that asks which models its own thread records.


@dataclass
class _Recorder:
    """One recording: the layers of one model, in one thread."""

    layers: dict[int, tuple[str, nnx.Module]]
    """Path and module of each layer by ``id``; the modules are kept so that no other object gets
    their ``id``."""
    keep: Keep
    enter: Keep
    active: set[int] = field(default_factory=set)
    """The layers that are running, since ``super().__call__`` is part of the same call."""


class _Thread(threading.local):
    """The recordings of the current thread."""

    def __init__(self):
        self.recorders: list[_Recorder] = []


_thread = _Thread()
_lock = threading.Lock()
_wrapped: dict[type, tuple[int, Any]] = {}
"""Each class that is wrapped: how many recordings need it, and its own ``__call__`` or None."""


@contextlib.contextmanager
def _recording_nnx(model: nnx.Module, keep: Keep, enter: Keep) -> Iterator[None]:
    modules = [(path, m) for path, m in nnx.iter_graph(model) if isinstance(m, nnx.Module)]
    layers = {id(module): (".".join(map(str, path)), module) for path, module in modules}
    classes = {type(module) for _, module in modules if callable(module)}
    recorder = _Recorder(layers, keep, enter)
    with _lock:
        for cls in classes:
            _wrap(cls)
    _thread.recorders.append(recorder)
    try:
        yield
    finally:
        _thread.recorders.remove(recorder)
        with _lock:
            for cls in classes:
                _unwrap(cls)


def _wrap(cls: type) -> None:
    count, own = _wrapped.get(cls, (0, cls.__dict__.get("__call__")))
    _wrapped[cls] = count + 1, own
    if count:
        return
    original = cls.__call__

    @functools.wraps(original, updated=())
    def call(self, *args, **kwargs):
        key = id(self)
        recorders = [r for r in _thread.recorders if key in r.layers and key not in r.active]
        for r in recorders:
            r.active.add(key)
            if path := r.layers[key][0]:
                r.enter(path, self, (*args, *kwargs.values()))
        try:
            y = original(self, *args, **kwargs)
        finally:
            for r in recorders:
                r.active.discard(key)
        for r in recorders:
            if path := r.layers[key][0]:
                r.keep(path, self, y)
        return y

    cls.__call__ = call


def _unwrap(cls: type) -> None:
    count, own = _wrapped.pop(cls)
    if count > 1:
        _wrapped[cls] = count - 1, own
    elif own is None:
        del cls.__call__
    else:
        cls.__call__ = own
