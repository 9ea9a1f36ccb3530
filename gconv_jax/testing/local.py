"""`local_equivariance_errors`: how fast a model departs from the law when its input moves."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.groups.irrep_features import IrrepFeatures, from_irreps
from gconv_jax.lattice.flow import Generator, affine_generator
from gconv_jax.lattice.lie_derivative import (
    Action,
    action_tangent,
    find_smooth_action,
    find_spacing,
    has_space,
    input_tangent,
)
from gconv_jax.testing.equivariance import PRECISION
from gconv_jax.testing.perturbation import copy_of

OUTPUT = "output"
UNITS = {
    "rotation": "radian",
    "translation_rows": "pixel",
    "translation_columns": "pixel",
    "scaling": "factor e",
}


@dataclass(frozen=True)
class LocalEquivarianceReport:
    """Local equivariance errors of a model's layers, in the order in which they finish.

    Attributes:
        generator: the name of the generator; ``affine`` for a matrix.
        errors: the error of each layer, relative to the size of its result. It is NaN where it
            cannot be read off the shape of the result how the move acts on it.
        lee: the same as the paper defines it: squared, and not relative.
    """

    generator: str
    errors: dict[str, float]
    lee: dict[str, float]

    def __str__(self) -> str:
        width = max(map(len, [*self.errors, "layer"]))
        lines = [f"{'layer':{width}}  relative       LEE"]
        for name, error in self.errors.items():
            cells = ["        ?" if np.isnan(e) else f"{e:9.1e}" for e in (error, self.lee[name])]
            lines.append(f"{name:{width}} {' '.join(cells)}")
        unit = UNITS.get(self.generator, "unit")
        lines.append(f"errors under {self.generator.replace('_', ' of ')}, for each {unit}")
        if np.isnan([*self.errors.values()]).any():
            lines.append("?: how the result moves is not known; orientations need their `group`")
        return "\n".join(lines)


def local_equivariance_errors(
    model: Callable[..., Any],
    x: jax.Array,
    *,
    generator: Generator = "rotation",
    group: FiniteGroup | None = None,
    input_action: Action | None = None,
    output_action: Action | None = None,
    per_layer: bool = True,
    **kwargs,
) -> LocalEquivarianceReport:
    """Measure how fast a model, and each layer of it, departs from the law when its input moves.

    It is the local equivariance error of Gruver et al. 2022 (arXiv:2210.02984), for the Lie
    derivative ``L y`` of the result y, as `gconv_jax.lattice.lie_derivative` defines it:

    - ``LEE = mean_x |L y(x)|^2 / dim y`` over the images x, where ``dim y`` counts the numbers of a
      result. This is the paper's. It has the unit of ``y^2``, so that it compares models with one
      kind of output. The paper takes class probabilities: pass a function with a softmax.
    - ``relative = sqrt(sum_x |L y(x)|^2 / sum_x |y(x)|^2)``. It does not change when a layer is
      scaled, so that it compares layers and models. A move by a small t makes a relative error of t
      times this. An offset that all results share makes it small, as in `equivariance_errors`.

    Both are for one unit of t: a radian, a pixel of the input, a factor e. The paper counts
    translations in halves of an image; multiply the generator for another unit.

    A layer's result is taken for a function of the image, so that errors accumulate with depth. All
    layers are measured in a single forward derivative of the model. A group has no small rotations,
    so that orientations are taken for samples of a function of the angle, if ``group`` is given
    (`gconv_jax.lattice.flow.turn_orientations`). So layers of a G-CNN over few rotations have large
    errors, though their invariant output may have a small one. Where channels may be orientations
    that were merged, or the stride of a translated layer is not sure, the least error counts.

    Borders break the law, too: take `smooth_images`, or data that vanish there.

    Args:
        model: an NNX module or a bound Linen module, which is left as it was. Any other function,
            of any library that is written in JAX, gets rows for its output alone.
        x: images ``[N, H, W, C]``, floating.
        generator: the move, a name such as ``"rotation"``, ``"translation_rows"`` or ``"scaling"``,
            or a matrix, as in `gconv_jax.lattice.flow.move_tangent`.
        group: the group of the orientations of feature maps ``[N, H, W, |G|, C]``. Without it they
            have no figure under rotations.
        input_action, output_action: as in `gconv_jax.lattice.lie_derivative.lie_derivative`.
        per_layer: whether to measure the layers of a Flax model as well.
        **kwargs: keywords for ``model``.

    Returns:
        A `LocalEquivarianceReport`; print it for a table. A layer that is called again has a row
        ``path#2``, and an array in a tree that the model returns one with its path. Layers that
        run inside ``jit``, ``scan`` or ``vmap``, or return something else, have none.

    >>> from flax import nnx
    >>> from gconv_jax.testing import local_equivariance_errors, smooth_images
    >>> model = nnx.Sequential(nnx.Conv(1, 4, (3, 3), rngs=nnx.Rngs(0)), nnx.relu)
    >>> report = local_equivariance_errors(model, smooth_images((2, 32, 32, 1)))
    >>> {name: round(error, 1) for name, error in report.errors.items()}
    {'layers.0': 0.4, 'output': 0.5}
    """
    x, matrix = jnp.asarray(x), affine_generator(generator)
    tangent = input_tangent(x, matrix, group, input_action)
    keys: list[_Key] = []

    def run(x: jax.Array) -> tuple[jax.Array, ...]:
        found = _results(copy_of(model), x, kwargs, per_layer=per_layer)
        keys[:] = found
        return tuple(found.values())

    with jax.default_matmul_precision(PRECISION):
        values, changes = jax.jvp(run, (x,), (tangent,))
    fields = [action for action in (input_action, output_action) if isinstance(action, Fields)]
    shifted = bool(matrix[:, 2].any())
    errors, lee = {}, {}
    for key, y, change in zip(keys, values, changes, strict=True):
        if key.is_output:
            moves = _output_moves(y, x.shape[1:3], output_action)
        else:
            moves = _possible_moves(y, x.shape[1:3], group, fields, shifted)
        squares = []
        for shape, action, spacing in moves:
            try:
                own = action_tangent(y.reshape(shape), action, matrix, group, spacing)
            except ValueError:  # arrays of this kind have no such move, as orientations no shear
                if key.is_output and output_action is not None:
                    raise
                continue
            squares.append(_mean_square(change - own.reshape(y.shape)))
        lee[key.name] = min(squares, default=np.nan)
        errors[key.name] = float(np.sqrt(lee[key.name] / (_mean_square(y) or 1.0)))
    name = generator if isinstance(generator, str) else "affine"
    return LocalEquivarianceReport(name, errors, lee)


class _Key(NamedTuple):
    """The row of a result: of a layer, or of the model itself."""

    name: str
    is_output: bool


class _Move(NamedTuple):
    """A way in which a result may move: as an array of this shape, by an action, on its pixels."""

    shape: tuple[int, ...]
    action: Action
    spacing: tuple[float, float]


def _results(model, x: jax.Array, kwargs: dict, *, per_layer: bool) -> dict[_Key, jax.Array]:
    """Return the floating arrays that the layers and the model return for ``x``."""
    from flax.nnx.tracers import TraceState  # not at the top, since not all models are Flax's

    from gconv_jax.layer_outputs import capture_layer_outputs

    found: dict[_Key, jax.Array] = {}
    calls: dict[str, int] = {}
    # Values of a program that is traced inside the model, as by jit, exist nowhere else.
    outside = TraceState()

    def keep(path: str, layer, y) -> None:
        calls[path] = calls.get(path, 0) + 1
        name = path if calls[path] == 1 else f"{path}#{calls[path]}"
        if outside.is_valid() and _is_array(y):
            found[_Key(name, is_output=False)] = _as_array(y)

    with capture_layer_outputs(model, keep) if per_layer else contextlib.nullcontext():
        tree = model(x, **kwargs)
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_array)
    outputs = {
        _Key(OUTPUT + jax.tree_util.keystr(path), is_output=True): _as_array(y)
        for path, y in leaves
        if _is_array(y)
    }
    if not outputs:
        name = getattr(model, "__name__", type(model).__name__)
        raise TypeError(
            f"`model` must return an array of floating numbers or a tree of them, got "
            f"{type(tree).__name__} from {name}; pass a function that selects what is to be "
            "measured"
        )
    return found | outputs


def _is_array(y: Any) -> bool:
    array = isinstance(y, jax.Array | IrrepFeatures)
    return array and jnp.issubdtype(y.dtype, jnp.inexact)


def _as_array(y: jax.Array | IrrepFeatures) -> jax.Array:
    return from_irreps(y) if isinstance(y, IrrepFeatures) else y


def _output_moves(y: jax.Array, before: Sequence[int], action: Action | None) -> list[_Move]:
    """Return how the output of the model moves, or nothing if its shape does not say it."""
    try:
        found = find_smooth_action(action, y, OUTPUT)
    except ValueError:
        if action is not None:
            raise
        return []
    spacing = find_spacing(None, before, y.shape[1:3]) if has_space(y, found) else (1.0, 1.0)
    return [_Move(y.shape, found, spacing)]


def _possible_moves(
    y: jax.Array,
    before: Sequence[int],
    group: FiniteGroup | None,
    fields: Sequence[Fields],
    shifted: bool,
) -> list[_Move]:
    """Return the ways in which the shape of a layer's result allows it to move.

    Channels may be orientations that were merged, or the ``fields`` of the input or the output.
    """
    shapes_and_actions: list[tuple[tuple[int, ...], Action]] = []
    known: list[Action | None] = [None, *fields]
    if group is not None and y.ndim == 3 and y.shape[-2] == group.order:
        known = ["orientations"]
    for action in known:
        with contextlib.suppress(ValueError):
            found = find_smooth_action(action, y, "result")
            shapes_and_actions.append((y.shape, found))
    if group is not None and y.ndim in (2, 4) and y.shape[-1] % group.order == 0:
        split = (*y.shape[:-1], group.order, y.shape[-1] // group.order)
        shapes_and_actions.append((split, "feature_map" if y.ndim == 4 else "orientations"))
    spacings = [(1.0, 1.0)]
    if y.ndim >= 4:
        spacings = _possible_spacings(before, y.shape[1:3], shifted=shifted)
    return [_Move(*found, spacing) for found in shapes_and_actions for spacing in spacings]


def _possible_spacings(
    before: Sequence[int], after: Sequence[int], *, shifted: bool
) -> list[tuple[float, float]]:
    """Return the distances that pixels of a layer's result may have, in pixels of the image.

    There are none if the sides are not in the ratio of the image's, as those of tokens. Layers
    without padding have fewer pixels than their strides say, which counts where they are shifted.
    """
    rows, columns = find_spacing(None, before, after)
    if rows != columns and max(after) > 1:
        return []
    strides = {rows}
    if shifted:
        strides |= {2.0**i for i in range(int(np.log2(max(rows, 1))) + 1)}
    return [(stride, stride) for stride in sorted(strides)]


def _mean_square(y: jax.Array) -> float:
    wide = np.asarray(y, np.complex128 if jnp.iscomplexobj(y) else np.float64)
    return float(np.mean(np.abs(wide) ** 2)) if wide.size else 0.0
