"""What the layers of a Flax model return while it runs."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from flax import linen, nnx

Keep = Callable[[str, Any, Any], None]


@contextlib.contextmanager
def recording(model: Callable, keep: Keep) -> Iterator[None]:
    """Calls ``keep(path, layer, result)`` whenever a layer inside an NNX or bound Linen module
    returns, in the order in which they do. Nothing for other functions, and for the model itself.

    ValueError for a Linen module that is not bound.
    """
    if isinstance(model, nnx.Module):
        with _recording_nnx(model, keep):
            yield
    elif isinstance(model, linen.Module):
        if model.scope is None:
            raise ValueError("a Linen `model` must be bound: pass module.bind(variables)")
        with linen.intercept_methods(_interceptor(keep)):
            yield
    else:
        yield


def _interceptor(keep: Keep):
    def interceptor(next_fun, args, kwargs, context):
        y = next_fun(*args, **kwargs)
        path = ".".join(context.module.path)
        if context.method_name == "__call__" and path:
            keep(path, context.module, y)
        return y

    return interceptor


@contextlib.contextmanager
def _recording_nnx(model: nnx.Module, keep: Keep) -> Iterator[None]:
    """NNX has no interceptors: for the time of one call, wrap ``__call__`` of the classes."""
    modules = [(path, m) for path, m in nnx.iter_graph(model) if isinstance(m, nnx.Module)]
    paths = {id(module): ".".join(map(str, path)) for path, module in modules}
    originals = {type(module): type(module).__call__ for _, module in modules if callable(module)}
    own = {cls: cls.__dict__.get("__call__") for cls in originals}
    active: set[int] = set()  # super().__call__ is part of the same call

    def wrap(original):
        def call(self, *args, **kwargs):
            outer = id(self) not in active
            active.add(id(self))
            try:
                y = original(self, *args, **kwargs)
            finally:
                if outer:
                    active.discard(id(self))
            if outer and paths.get(id(self)):
                keep(paths[id(self)], self, y)
            return y

        return call

    try:
        for cls, original in originals.items():
            cls.__call__ = wrap(original)
        yield
    finally:
        for cls, method in own.items():
            if method is None:
                del cls.__call__
            else:
                cls.__call__ = method
