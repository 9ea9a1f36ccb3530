"""The weights that a network starts from: those of another one, but for a last layer of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gconv_jax.models import RescaledOutputs, VectorOutputs

from .model_parts import find_part
from .rescaled import Rescaled

_MAKE_VECTORS = ("project.", "moment.")
"""The beginnings of the names of arrays that make vectors of feature maps."""


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
    vectors: bool = False
    """True if it ends in a `VectorOutputs`."""

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

    Arrays of the ``head`` that have another shape there keep their own numbers. If one of the two
    networks alone ends in vectors, so do the layers of its end; and so does all that makes vectors,
    if the other one makes others.

    ValueError names an array that is another one, or none, in one of the two.
    """
    here = {name: (path, variable) for name, path, variable in _variables(model)}
    found = _with_same_end(weights, model, {name: v for name, (_, v) in here.items()})
    layers = {_layer(name) for name in found}
    end_is_new = weights.vectors and find_part(model, VectorOutputs) is None
    for name, (path, variable) in here.items():
        old, shape = found.pop(name, None), variable[...].shape
        if old is not None and old.shape == shape:
            variable[...] = jnp.asarray(old, variable[...].dtype)
        elif path not in head and not (end_is_new and _layer(name) not in layers):
            there = "is missing" if old is None else f"has shape {old.shape}"
            raise ValueError(
                f"`init` {weights.place} is another network: `{name}` has shape {shape} here, and "
                f"{there} there"
            )
    if more := sorted(found):
        raise ValueError(f"`init` {weights.place} is another network: it has `{more[0]}` as well")
    return model


def _with_same_end(
    weights: StartingWeights, model: nnx.Module, here: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Return the arrays of weights without those of their end, unless they and the model, whose
    variables are ``here``, both end in classes, or in as many numbers and vectors."""
    there = weights.arrays
    if not weights.vectors and find_part(model, VectorOutputs) is not None:
        layers = set(map(_layer, here))
        return {name: array for name, array in there.items() if _layer(name) in layers}
    ends = [name for name in there if weights.vectors and name.startswith(_MAKE_VECTORS)]
    if all(name in here and here[name][...].shape == there[name].shape for name in ends):
        return dict(there)
    return {name: array for name, array in there.items() if name not in ends}


def head_of(build: Callable[[int], nnx.Module], *classes: int) -> frozenset[str]:
    """Return the paths of the last layer: of the arrays whose shape depends on the classes, or of
    those that make vectors.

    Args:
        build: a function of the number of classes to the network; nothing is computed.
        *classes: two or more different numbers.
    """
    models = [nnx.eval_shape(lambda n=n: build(n)) for n in dict.fromkeys(classes)]
    shapes = [{path: _shape(v) for _, path, v in _variables(model)} for model in models]
    if find_part(models[0], VectorOutputs) is not None:
        named = ((name, path) for name, path, _ in _variables(models[0]))
        return frozenset(path for name, path in named if name.startswith(_MAKE_VECTORS))
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

    Names are paths without the levels of `Rescaled`, `RescaledOutputs` and `VectorOutputs`: whether
    outputs are numbers, vectors or classes, the network is the same.
    """
    kinds = Rescaled | RescaledOutputs | VectorOutputs
    levels = {path: part for path, part in nnx.iter_graph(model) if isinstance(part, kinds)}
    for path, variable in nnx.iter_graph(model):
        if not isinstance(variable, nnx.Variable) or isinstance(variable, nnx.RngState):
            continue
        if isinstance(levels.get(path[:-1]), Rescaled):  # mean and deviation of the numbers
            continue
        within = [k for i, k in enumerate(path) if not (k == "model" and path[:i] in levels)]
        yield ".".join(map(str, within)), ".".join(map(str, path)), variable


def _layer(name: str) -> str:
    return name.split(".")[0]


def _shape(variable: Any) -> tuple[int, ...]:
    value = variable.get_value() if hasattr(variable, "get_value") else variable.value
    return tuple(value.shape)
