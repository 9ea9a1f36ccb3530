"""Programs with constants computed ahead, and affine maps folded into the convolutions before them.

In evaluation filter banks, their Fourier transforms, the factors of batch normalization and biases
depend on parameters only. `fold` traces the program of a network, computes all of them once, and
writes a program of the operations that are left. A convolution whose result is then scaled and
shifted for each output channel becomes one with scaled filters and one bias.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.conv.fourier import fourier_form
from gconv_jax.export.jaxpr import Equation, Node, Program, bind, compute_ahead
from gconv_jax.filters.bank import filter_bank
from gconv_jax.ops.arguments import spatial_axes
from gconv_jax.ops.channels import merge_channels
from gconv_jax.planar.depthwise import depthwise_form, grouped_conv
from gconv_jax.planar.implementation import PlanarConv, planar_form, xla_conv
from gconv_jax.planar.primitive import Form


def fold(
    function: Callable, x: jax.ShapeDtypeStruct, *, portable: bool = False
) -> Callable[[jax.Array], Any]:
    """Return the function with everything that does not depend on x computed ahead.

    Args:
        function: a function of one array, with its parameters closed over.
        x: the shape and dtype that the result is for.
        portable: whether all convolutions are XLA's own, for programs that leave this library.

    Returns:
        A function of an array of that shape, to be traced.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(x)
    program = Program()
    given = program.new()
    constants = [program.constant(value) for value in closed.consts]
    outputs = program.write(closed.jaxpr, constants, [given])
    known = set(program.constants)
    ahead, left = {}, []
    for equation in program.equations:
        if known.issuperset(equation.inputs) and equation.is_computable:
            known.update(equation.outputs)
            ahead |= dict.fromkeys(equation.outputs, equation)
        else:
            left.append(equation)
    used = [*outputs, *(node for equation in left for node in equation.inputs)]
    for node in sorted(known & set(used), reverse=True):  # results before operands
        if node in ahead and ahead[node].is_repetition:
            left.insert(0, ahead[node])
            known.discard(node)
            used += ahead[node].inputs
    values = compute_ahead(
        program.constants, list(dict.fromkeys(ahead.values())), known & set(used)
    )
    tree = jax.tree.structure(shapes)

    def folded(x: jax.Array):
        results = _Folding(dict(values) | {given: x}, Counter(used), portable).run(left, outputs)
        return jax.tree.unflatten(tree, results)

    return folded


@dataclass(frozen=True)
class _Affine:
    """A value that is not yet computed: ``scale * conv(x, w) + shift`` for each output channel.

    ``conv`` is linear in w, whose axis ``axis`` is that of the output channels. The result has
    ``repeats`` times as many channels, since each belongs to a group element. ``scale`` and
    ``shift`` are arrays of the channels, and ``shape`` is the shape that the result is to have.
    """

    conv: Callable[[np.ndarray], jax.Array]
    w: np.ndarray
    axis: int
    repeats: int
    scale: np.ndarray
    shift: np.ndarray
    shape: tuple
    dtype: Any

    def compute(self) -> jax.Array:
        each = self.w.shape[self.axis]
        scales, rest = self.scale.reshape(self.repeats, each), None
        if (scales == 1).all():
            w = self.w
        elif (scales == scales[0]).all():
            along = [1] * self.w.ndim
            along[self.axis] = each
            w = self.w.astype(np.float64) * scales[0].reshape(along)
        else:  # no filter on the group scales the elements differently
            w, rest = self.w, self.scale.astype(self.dtype)
        y = self.conv(w.astype(self.dtype))
        y = y.reshape(*y.shape[: y.ndim - (1 if self.repeats == 1 else 2)], len(self.scale))
        if rest is not None:
            y = y * rest
        if self.shift.any():
            y = y + self.shift.astype(self.dtype)
        return y.reshape(self.shape)

    def channels_of(self, value, shape: tuple) -> np.ndarray | None:
        """Return a constant of ``shape`` as a number for each channel.

        None unless it is the same at all pixels.
        """
        lead = _leading(shape, len(self.scale))
        value = np.asarray(value, np.float64)
        if lead is None:
            return None
        value = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
        if any(n != 1 for n in value.shape[:lead]):
            return None
        each = np.broadcast_to(value, (1,) * lead + tuple(shape[lead:])).reshape(
            -1, len(self.scale)
        )
        return each[0] if (each == each[0]).all() else None


def _leading(shape: tuple, channels: int) -> int | None:
    """Return how many axes come before those that hold the channels; None if no axes do.

    The channels are the fastest index of the array, however it is reshaped. The axes after the
    leading ones hold them once, or several times over.
    """
    size, lead = 1, len(shape)
    while size % channels and lead and isinstance(shape[lead - 1], int):
        lead -= 1
        size *= shape[lead]
    return lead if size % channels == 0 else None


class _Folding:
    """A run of the operations that are left of a program.

    `_Affine` values are computed only when an operation uses them that cannot be folded.
    """

    def __init__(self, values: dict[Node, Any], uses: Counter, portable: bool):
        self.values = values
        self.constants = set(values)
        self.uses = uses
        self.portable = portable

    def run(self, equations: list[Equation], outputs: list[Node]) -> list[jax.Array]:
        """Return the outputs of the program that consists of these operations."""
        for equation in equations:
            result = self._convolution(equation)
            if result is None:
                result = self._affine(equation)
            if result is not None:
                self.values[equation.outputs[0]] = result
                continue
            results = bind(equation.equation, *map(self._array, equation.inputs))
            self.values |= dict(zip(equation.outputs, results, strict=True))
        return [jnp.asarray(self._array(node)) for node in outputs]

    def _array(self, node: Node):
        """Return the value of a node, which is computed now if it has waited."""
        value = self.values[node]
        if isinstance(value, _Affine):
            value = self.values[node] = value.compute()
        return value

    def _is_constant(self, node: Node) -> bool:
        return isinstance(self.values[node], np.ndarray)

    def _convolution(self, equation: Equation) -> "_Affine | jax.Array | None":
        """Return the result of a convolution, which waits if its filter is a constant.

        None for other operations.
        """
        if equation.name not in _CONVOLUTIONS:
            return None
        x, w = map(self._array, equation.inputs)
        linear = _CONVOLUTIONS[equation.name](x, w, equation.equation.params, self.portable)
        if linear is None:
            return None
        conv, w, axis, repeats = linear
        aval = equation.equation.outvars[0].aval
        if not isinstance(w, np.ndarray):  # the filter depends on the image
            return conv(w).reshape(aval.shape)
        channels = repeats * w.shape[axis]
        ones, zeros = np.ones(channels), np.zeros(channels)
        return _Affine(conv, w, axis, repeats, ones, zeros, aval.shape, aval.dtype)

    def _affine(self, equation: Equation) -> _Affine | None:
        """Return a waiting convolution with this operation folded into it, if that is possible."""
        waiting = [n for n in equation.inputs if isinstance(self.values[n], _Affine)]
        # With another use, the convolution would be computed twice.
        if len(waiting) != 1 or self.uses[waiting[0]] > 1:
            return None
        node = waiting[0]
        y, aval = self.values[node], equation.equation.outvars[0].aval
        if equation.name == "reshape":
            kept = _leading(aval.shape, len(y.scale)) is not None
            return replace(y, shape=aval.shape) if kept else None
        if equation.name == "neg":
            return replace(y, scale=-y.scale, shift=-y.shift)
        if equation.name not in ("add", "sub", "mul", "div") or aval.shape != y.shape:
            return None
        first = equation.inputs[0] == node
        other = equation.inputs[1 if first else 0]
        if not self._is_constant(other) or y.dtype != aval.dtype:
            return None
        if not jnp.issubdtype(y.dtype, jnp.floating):  # division of integers is no affine map
            return None
        c = y.channels_of(self.values[other], aval.shape)
        if c is None or (equation.name == "div" and not (first and c.all())):
            return None
        if equation.name == "add":
            return replace(y, shift=y.shift + c)
        if equation.name == "sub":
            sign = 1 if first else -1
            return replace(y, scale=sign * y.scale, shift=sign * (y.shift - c))
        c = c if equation.name == "mul" else 1 / c
        return replace(y, scale=y.scale * c, shift=y.shift * c)


def _planar(x, w, params: dict, portable: bool):
    form, static = params["form"], params["static"]
    if form is Form.FILTER_GRADIENT:
        return None

    def conv(w):
        if portable:
            compute = xla_conv if form is Form.OUTPUT else _xla_transposed
            return compute(x, jnp.asarray(w), static)
        return planar_form(form, x, jnp.asarray(w), static)

    # A transposed convolution has the two axes of channels exchanged.
    return conv, w, w.ndim - (1 if form is Form.OUTPUT else 2), 1


def _xla_transposed(y: jax.Array, w: jax.Array, static: PlanarConv) -> jax.Array:
    """Return the input gradient of `xla_conv`: a convolution of y with zeros between its pixels."""
    geometry = static.geometry
    rank = len(geometry.kernel)
    spatial = spatial_axes(rank)
    return jax.lax.conv_general_dilated(
        y,
        jnp.flip(w, range(rank)),
        window_strides=(1,) * rank,
        padding=geometry.adjoint.padding,
        lhs_dilation=geometry.strides,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"N{spatial}C", f"{spatial}OI", f"N{spatial}C"),
        precision=static.precision,
    )


def _depthwise(x, w, params: dict, portable: bool):
    if params["form"] is not Form.OUTPUT:
        return None
    static: PlanarConv = params["static"]

    def conv(w):
        if portable:
            return grouped_conv(x, jnp.asarray(w), static)
        return depthwise_form(Form.OUTPUT, x, jnp.asarray(w), static)

    return conv, w, w.ndim - 1, 1


def _fourier(x, w, params: dict, portable: bool):
    if params["form"] is not Form.OUTPUT:
        return None
    static = params["static"]
    platform = "cpu" if jax.default_backend() == "cpu" else "other"
    if platform in static.platforms and not portable:

        def conv(w):
            return fourier_form(Form.OUTPUT, x, jnp.asarray(w), static)

        return conv, w, w.ndim - 1, static.group.order
    if isinstance(w, np.ndarray):
        with jax.ensure_compile_time_eval():
            bank = np.asarray(filter_bank(jnp.asarray(w), group=static.group))
    else:
        bank = filter_bank(w, group=static.group)
    params = {"form": Form.OUTPUT, "static": static.planar}
    return _planar(merge_channels(x), bank, params, portable)


def _general(x, w, params: dict, portable: bool):
    numbers = params["dimension_numbers"]
    if numbers.out_spec[1] != w.ndim - 1 or params["batch_group_count"] != 1:
        return None

    def conv(w):
        return jax.lax.conv_general_dilated_p.bind(x, jnp.asarray(w), **params)

    return conv, w, numbers.rhs_spec[0], 1


# Functions from (x, w, parameters, portable) to (function of w, w, axis of the output channels,
# repeats), or to None for a convolution that cannot be folded.
_CONVOLUTIONS = {
    "gconv_jax_planar_conv": _planar,
    "gconv_jax_depthwise_conv": _depthwise,
    "gconv_jax_fourier_conv": _fourier,
    "conv_general_dilated": _general,
}
