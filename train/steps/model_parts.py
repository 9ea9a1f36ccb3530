"""The parts of a network by their kind."""

from typing import TypeVar

from flax import nnx

Part = TypeVar("Part", bound=nnx.Module)


def find_part(model: nnx.Module, kind: type[Part]) -> Part | None:
    """Return the outermost module of a kind in a network, if there is one."""
    parts = ((len(path), part) for path, part in nnx.iter_graph(model) if isinstance(part, kind))
    return min(parts, key=lambda found: found[0], default=(0, None))[1]
