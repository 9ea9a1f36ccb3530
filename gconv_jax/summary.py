"""A table of a model's layers: groups, shapes, parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen, nnx

from gconv_jax.continuous.sampled import SampledFeatures
from gconv_jax.layer_outputs import capture_layer_outputs


@dataclass(frozen=True)
class Row:
    """One call of a layer.

    Attributes:
        path: the place of the layer in the model.
        layer: the name of its class.
        group: its group, or an empty string.
        shape: the shape of its result.
        parameters: the numbers that it holds itself, and that no row above has counted.
        shared: whether a row above has counted them.
    """

    path: str
    layer: str
    group: str
    shape: str
    parameters: int
    shared: bool


@dataclass(frozen=True)
class Summary:
    """The layers of a model, as `summary` returns them; print it for a table.

    Attributes:
        rows: the calls of layers in the order in which they finish, without those that only call
            others.
        output: the shape of the model's result.
        parameters: the number of parameters of the whole model, each shared one counted once.
        statistics: the other numbers that the model holds, such as those of batch normalization.
    """

    rows: tuple[Row, ...]
    output: str
    parameters: int
    statistics: int

    def __str__(self) -> str:
        table = [("layer", "", "group", "result", "parameters")]
        for row in self.rows:
            count = "shared" if row.shared else f"{row.parameters:,}" if row.parameters else ""
            table.append((row.path, row.layer, row.group, row.shape, count))
        statistics = f" and {self.statistics:,} statistics" if self.statistics else ""
        table.append(("output", "", "", self.output, f"{self.parameters:,}"))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if i == len(row) - 1 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        return "\n".join(lines) + f"\n{self.parameters:,} parameters{statistics}"


def summary(model: Callable, x: jax.Array | jax.ShapeDtypeStruct | Sequence[int]) -> Summary:
    """Return the layers of a model as it runs on ``x``.

    The summary has the group at each depth, the shape of each result, and the parameters, shared
    ones counted once. Nothing is computed, and the model stays as it is.

    Args:
        model: an NNX module, also an abstract one (``nnx.eval_shape``), or a bound Linen module
            (``module.bind(variables)``).
        x: a batch, or its shape, for float32.

    Returns:
        A `Summary`.

    Raises:
        TypeError: ``model`` is neither an NNX nor a Linen module.

    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.models import LeNet
    >>> from gconv_jax.summary import summary
    >>> model = nnx.eval_shape(lambda: LeNet(group=P4, rngs=nnx.Rngs(0)))
    >>> print(summary(model, (8, 28, 28, 1)))
    layer               group  result        parameters
    conv0    LiftConv   P4     8x24x24x4x10         260
    conv1    GroupConv  P4     8x8x8x4x24        24,024
    linear0  Linear            8x124            190,588
    linear1  Linear            8x10               1,250
    output                     8x10             216,122
    216,122 parameters
    """
    if not isinstance(model, nnx.Module | linen.Module):
        raise TypeError(f"`model` must be an NNX module or a bound Linen module, got {model!r}")
    if isinstance(x, Sequence):
        x = jax.ShapeDtypeStruct(tuple(x), jnp.float32)
    rows: list[Row] = []
    counted: set = set()

    def keep(path: str, layer, y) -> None:
        own = _own_parameters(layer)
        if not own and _has_layers(layer):
            return
        group = getattr(layer, "group", None)
        new = {key: size for key, size in own.items() if key not in counted}
        rows.append(
            Row(
                path,
                type(layer).__name__,
                "" if group is None else repr(group),
                _shapes(y),
                sum(new.values()),
                bool(own) and not new,
            )
        )
        counted.update(new)

    if isinstance(model, nnx.Module):
        graphdef, state = nnx.split(model)

        def run(state, x):
            copy = nnx.merge(graphdef, state)  # its statistics may change
            with capture_layer_outputs(copy, keep):
                return copy(x)

        y = jax.eval_shape(run, state, x)
        parameters, others = (
            _size(nnx.state(model, only)) for only in (nnx.Param, nnx.Not(nnx.Param))
        )
    else:
        with capture_layer_outputs(model, keep):
            y = jax.eval_shape(model, x)
        collections = dict(model.variables)
        parameters = _size(collections.pop("params", {}))
        others = _size(collections)
    return Summary(tuple(rows), _shapes(y), parameters, others)


def _own_parameters(layer) -> dict:
    """Return the size of each parameter that the layer holds itself, by an identifier."""
    if isinstance(layer, nnx.Module):
        own = [value for value in vars(layer).values() if isinstance(value, nnx.Param)]
        return {id(p): _size(p) for p in own}
    own = layer.variables.get("params", {})
    return {(layer.path, name): p.size for name, p in own.items() if not isinstance(p, dict)}


def _has_layers(layer) -> bool:
    if isinstance(layer, nnx.Module):
        return sum(isinstance(m, nnx.Module) for _, m in nnx.iter_graph(layer)) > 1
    return any(isinstance(v, dict) for v in layer.variables.get("params", {}).values())


def _size(tree) -> int:
    """Return the number of floating-point values; random keys and counters do not count."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return sum(leaf.size for leaf in leaves)


def _shapes(y) -> str:
    if isinstance(y, SampledFeatures):
        y = y.values
    return ", ".join("x".join(map(str, jnp.shape(leaf))) or "scalar" for leaf in jax.tree.leaves(y))
