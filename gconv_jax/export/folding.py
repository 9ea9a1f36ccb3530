"""Programs with constants computed ahead, and affine maps folded into the convolutions before them.

A network in evaluation is a program of x alone: filter banks, their Fourier transforms, the factors
of batch normalisation and biases depend on parameters only. `fold` traces the program, computes all
of that once, and writes the program of what is left. A convolution whose result is then scaled and
shifted for each output channel becomes one with scaled filters and one bias.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gconv_jax.conv.fourier import fourier_form
from gconv_jax.filters.bank import filter_bank
from gconv_jax.ops.arguments import spatial_axes
from gconv_jax.ops.channels import merge_channels
from gconv_jax.planar.depthwise import depthwise_form, grouped_conv
from gconv_jax.planar.implementation import PlanarConv, planar_form, xla_conv
from gconv_jax.planar.primitive import Form

# Calls of functions, which are written out.
_CALLS = {
    "jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_jvp_call",
    "custom_vjp_call", "custom_vjp_call_jaxpr",
}  # fmt: skip
# Repetitions that make something so many times larger stay in the program.
_GROWTH = 16

Node = int


@dataclass(frozen=True)
class _Equation:
    """One operation on numbered values."""

    equation: Any
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    @property
    def name(self) -> str:
        return self.equation.primitive.name

    @property
    def is_repetition(self) -> bool:
        """Whether its result is larger than what it is made of, and says no more."""
        if self.name not in ("broadcast_in_dim", "iota"):
            return False
        size = sum(v.aval.size for v in self.equation.invars)
        return self.equation.outvars[0].aval.size > _GROWTH * max(1, size)

    @property
    def is_number(self) -> bool:
        """Whether it may be computed ahead, as far as its own result goes: of a symbolic batch,
        nothing is known."""
        shapes = (v.aval.shape for v in self.equation.outvars)
        known = all(isinstance(n, int) for shape in shapes for n in shape)
        return known and not self.equation.effects and self.name != "dim_as_value"


@dataclass
class _Program:
    """A program without calls: its constants, inputs and outputs are numbered values."""

    equations: list[_Equation] = field(default_factory=list)
    constants: dict[Node, Any] = field(default_factory=dict)
    count: int = 0

    def new(self) -> Node:
        self.count += 1
        return self.count - 1

    def constant(self, value) -> Node:
        node = self.new()
        self.constants[node] = value
        return node

    def write(self, jaxpr: Jaxpr, constants: list[Node], inputs: list[Node]) -> list[Node]:
        nodes = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *inputs], strict=True))

        def read(atom) -> Node:
            if isinstance(atom, Literal):
                return self.constant(np.asarray(atom.val, atom.aval.dtype))  # pyright: ignore[reportAttributeAccessIssue]
            return nodes[atom]

        for equation in jaxpr.eqns:
            arguments = [read(atom) for atom in equation.invars]
            inner = called(equation)
            if inner is None:
                results = [self.new() for _ in equation.outvars]
                self.equations.append(_Equation(equation, tuple(arguments), tuple(results)))
            else:
                constants = [self.constant(value) for value in inner[1]]
                results = self.write(inner[0], constants, arguments)
            nodes |= dict(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]


def bind(equation, *values) -> list:
    """The results of an equation for these values."""
    primitive = equation.primitive
    params = primitive.get_bind_params(equation.params)
    functions, params = params if isinstance(params, tuple) else ((), params)  # until JAX 0.8
    results = primitive.bind(*functions, *values, **params)
    return results if primitive.multiple_results else [results]


def called(equation) -> tuple[Jaxpr, list] | None:
    """The program and constants of the function that an equation calls, if it does."""
    if equation.primitive.name not in _CALLS:
        return None
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(name)
        if isinstance(inner, ClosedJaxpr):
            return inner.jaxpr, inner.consts
        if isinstance(inner, Jaxpr):
            return inner, []
    return None


def fold(
    function: Callable, x: jax.ShapeDtypeStruct, *, portable: bool = False
) -> Callable[[jax.Array], Any]:
    """The function of x with everything else computed ahead.

    Args:
        function: of one array, with its parameters closed over.
        x: the shape and dtype it is for.
        portable: convolve by XLA's own convolution alone, for programs that leave this library.

    Returns:
        A function of an array of that shape, to be traced.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(x)
    program = _Program()
    given = program.new()
    constants = [program.constant(value) for value in closed.consts]
    outputs = program.write(closed.jaxpr, constants, [given])
    known = set(program.constants)
    ahead, left = {}, []
    for equation in program.equations:
        if known.issuperset(equation.inputs) and equation.is_number:
            known.update(equation.outputs)
            ahead |= dict.fromkeys(equation.outputs, equation)
        else:
            left.append(equation)
    used = [*outputs, *(node for equation in left for node in equation.inputs)]
    for node in sorted(known & set(used), reverse=True):  # what is made of others comes first
        if node in ahead and ahead[node].is_repetition:
            left.insert(0, ahead[node])
            known.discard(node)
            used += ahead[node].inputs
    values = _compute(program.constants, list(dict.fromkeys(ahead.values())), known & set(used))
    tree = jax.tree.structure(shapes)

    def folded(x: jax.Array):
        results = _Folding(dict(values) | {given: x}, Counter(used), portable).run(left, outputs)
        return jax.tree.unflatten(tree, results)

    return folded


def _compute(constants: dict, equations: list[_Equation], wanted: set[Node]) -> dict:
    """The values of the ``wanted`` nodes, by one compiled program."""

    def run(constants):
        values = dict(constants)
        for equation in equations:
            results = bind(equation.equation, *(values[node] for node in equation.inputs))
            values |= dict(zip(equation.outputs, results, strict=True))
        return {node: values[node] for node in sorted(wanted)}

    # Tracers, of a model that is traced together with x, cannot be looked into.
    if any(isinstance(value, Tracer) for value in constants.values()):
        raise ValueError("the model's parameters must be numbers: do not freeze inside jit or grad")
    with jax.ensure_compile_time_eval():
        found = jax.jit(run)(constants)
    keys = jax.dtypes.prng_key  # which NumPy does not know
    return {
        node: value if jnp.issubdtype(value.dtype, keys) else np.asarray(value)
        for node, value in found.items()
    }


@dataclass(frozen=True)
class _Affine:
    """``scale * conv(x, w) + shift`` for each output channel, in some shape; not yet computed.

    ``conv`` is linear in w, whose axis ``axis`` is that of the output channels. The result has
    ``repeats`` times as many, a group element each.
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
        else:  # not the same for all elements: no filter on the group does that
            w, rest = self.w, self.scale.astype(self.dtype)
        y = self.conv(w.astype(self.dtype))
        y = y.reshape(*y.shape[: y.ndim - (1 if self.repeats == 1 else 2)], len(self.scale))
        if rest is not None:
            y = y * rest
        if self.shift.any():
            y = y + self.shift.astype(self.dtype)
        return y.reshape(self.shape)

    def channels_of(self, value, shape: tuple) -> np.ndarray | None:
        """A constant of ``shape`` as numbers for each channel, if it is the same everywhere."""
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
    """How many axes come before the last ones of an array that, however it is reshaped, has the
    channels as its fastest index: those after hold them once or several times over."""
    size, lead = 1, len(shape)
    while size % channels and lead and isinstance(shape[lead - 1], int):
        lead -= 1
        size *= shape[lead]
    return lead if size % channels == 0 else None


class _Folding:
    """Runs what is left of a program; `_Affine` values wait until they are used otherwise."""

    def __init__(self, values: dict[Node, Any], uses: Counter, portable: bool):
        self.values = values
        self.constants = set(values)
        self.uses = uses
        self.portable = portable

    def run(self, equations: list[_Equation], outputs: list[Node]) -> list[jax.Array]:
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
        value = self.values[node]
        if isinstance(value, _Affine):
            value = self.values[node] = value.compute()
        return value

    def _is_number(self, node: Node) -> bool:
        return isinstance(self.values[node], np.ndarray)

    def _convolution(self, equation: _Equation) -> "_Affine | jax.Array | None":
        if equation.name not in _CONVOLUTIONS:
            return None
        x, w = map(self._array, equation.inputs)
        make = _CONVOLUTIONS[equation.name]
        made = make(x, w, equation.equation.params, self.portable)
        if made is None:
            return None
        conv, w, axis, repeats = made
        aval = equation.equation.outvars[0].aval
        if not isinstance(w, np.ndarray):  # made of the image
            return conv(w).reshape(aval.shape)
        channels = repeats * w.shape[axis]
        ones, zeros = np.ones(channels), np.zeros(channels)
        return _Affine(conv, w, axis, repeats, ones, zeros, aval.shape, aval.dtype)

    def _affine(self, equation: _Equation) -> _Affine | None:
        waiting = [n for n in equation.inputs if isinstance(self.values[n], _Affine)]
        # Another user of the convolution would make it be computed twice.
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
        if not self._is_number(other) or y.dtype != aval.dtype:
            return None
        if not jnp.issubdtype(y.dtype, jnp.floating):  # integers are divided otherwise
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
    """The input gradient of `xla_conv`, as a convolution of y with zeros between its pixels."""
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


# (x, w, parameters, portable) to (function of w, w, axis of the output channels, repeats).
_CONVOLUTIONS = {
    "gconv_jax_planar_conv": _planar,
    "gconv_jax_depthwise_conv": _depthwise,
    "gconv_jax_fourier_conv": _fourier,
    "conv_general_dilated": _general,
}
