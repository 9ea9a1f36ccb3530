"""The weights that a network starts from: those of another one, but for a last layer of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gconv_jax.models import RescaledOutputs

from .rescaled import Rescaled


@dataclass(frozen=True)
class StartingWeights:
    """The numbers of a trained network, and what it was trained on."""

    place: str
    """The word after ``--init``."""
    arrays: dict[str, np.ndarray]
    """Parameters, batch statistics and other variables but random keys, by dotted path."""
    classes: int
    """Its outputs."""
    shape: tuple[int, ...]
    """That of an image, ``(*spatial, C)``."""

    def require_images(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the network takes images of a shape, as far as its weights say.

        Images may be of another size, and not of another number of channels.
        """
        if len(shape) != len(self.shape):
            kinds = {3: "images", 4: "volumes"}
            raise ValueError(
                f"`init` {self.place} is a network for {kinds[len(self.shape)]}, and these are "
                f"{kinds[len(shape)]}"
            )
        theirs, ours = self.shape[-1], shape[-1]
        if theirs == ours:
            return
        option = {1: "--channels grey", 3: "--channels colour"}.get(theirs)
        remedy = f"read those in --data with {option}" if option else "take another network"
        raise ValueError(
            f"`init` {self.place} takes images of {theirs} channel{'s' * (theirs != 1)}, and these "
            f"have {ours}: {remedy}"
        )


def arrays_of(model: nnx.Module) -> dict[str, np.ndarray]:
    """Return the numbers of a network by dotted path, without random keys."""
    return {name: np.asarray(v[...]) for name, _, v in _variables(model)}


def start_from(model: nnx.Module, weights: StartingWeights, head: frozenset[str]) -> nnx.Module:
    """Return the network with the weights of another one.

    Arrays of the ``head`` that have another shape there keep their own numbers.

    ValueError names an array that is another one, or none, in one of the two.
    """
    found = dict(weights.arrays)
    for name, path, variable in _variables(model):
        old, shape = found.pop(name, None), variable[...].shape
        if old is not None and old.shape == shape:
            variable[...] = jnp.asarray(old, variable[...].dtype)
        elif path not in head:
            there = "is missing" if old is None else f"has shape {old.shape}"
            raise ValueError(
                f"`init` {weights.place} is another network: `{name}` has shape {shape} here, and "
                f"{there} there"
            )
    if more := sorted(found):
        raise ValueError(f"`init` {weights.place} is another network: it has `{more[0]}` as well")
    return model


def head_of(build: Callable[[int], nnx.Module], *classes: int) -> frozenset[str]:
    """Return the paths of the last layer: of the arrays whose shape depends on the classes.

    Args:
        build: a function of the number of classes to the network; nothing is computed.
        *classes: two or more different numbers.
    """
    shapes = [
        {path: _shape(v) for _, path, v in _variables(nnx.eval_shape(lambda n=n: build(n)))}
        for n in dict.fromkeys(classes)
    ]
    paths = set().union(*shapes)
    return frozenset(p for p in paths if len({found.get(p) for found in shapes}) > 1)


def dotted(path: tuple[Any, ...]) -> str:
    """Return a path in a tree of parameters, as `jax.tree_util` gives it, in words."""
    return ".".join(str(part.key) for part in path if hasattr(part, "key"))


def parameter_paths(params: nnx.State) -> list[str]:
    """Return the dotted paths of parameters."""
    return [dotted(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _variables(model: nnx.Module) -> Iterator[tuple[str, str, Any]]:
    """Yield the variables of a network but random keys, each with a name and its dotted path.

    Names are paths without the level of a `Rescaled` or a `RescaledOutputs`: whether outputs are
    numbers or classes, the network is the same.
    """
    kinds = Rescaled | RescaledOutputs
    outer = next((p for p, m in nnx.iter_graph(model) if isinstance(m, kinds)), None)
    for path, variable in nnx.iter_graph(model):
        if not isinstance(variable, nnx.Variable) or isinstance(variable, nnx.RngState):
            continue
        name = path
        if outer is not None and path[: len(outer)] == outer:
            if path[len(outer)] != "model":  # mean and deviation of the numbers
                continue
            name = outer + path[len(outer) + 1 :]
        yield ".".join(map(str, name)), ".".join(map(str, path)), variable


def _shape(variable: Any) -> tuple[int, ...]:
    value = variable.get_value() if hasattr(variable, "get_value") else variable.value
    return tuple(value.shape)
