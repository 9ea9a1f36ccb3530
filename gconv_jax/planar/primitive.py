"""JAX primitives for convolutions: bilinear maps whose derivatives are maps of the same kind.

A convolution y = x * w comes in three forms: y from (x, w), the input gradient from (g, w) and
the filter gradient from (x, g). Differentiating any of them by either operand gives another of
them. So three hand-written functions make a primitive with forward and reverse mode of any
order, vmap, and code of its own for each platform; JAX's custom_vjp would lose forward mode.
"""

import enum
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import PartitionSpec


class Form(enum.Enum):
    """The three forms of ``y = x * w``, with g the cotangent of y."""

    OUTPUT = "y from (x, w)"
    INPUT_GRADIENT = "x from (g, w)"
    FILTER_GRADIENT = "w from (x, g)"


# The gradient of a form by its first or second operand is another form, of the cotangent and of the
# other operand, in this order.
_TRANSPOSES = {
    (Form.OUTPUT, 0): (Form.INPUT_GRADIENT, ("cotangent", "other")),
    (Form.OUTPUT, 1): (Form.FILTER_GRADIENT, ("other", "cotangent")),
    (Form.INPUT_GRADIENT, 0): (Form.OUTPUT, ("cotangent", "other")),
    (Form.INPUT_GRADIENT, 1): (Form.FILTER_GRADIENT, ("cotangent", "other")),
    (Form.FILTER_GRADIENT, 0): (Form.INPUT_GRADIENT, ("other", "cotangent")),
    (Form.FILTER_GRADIENT, 1): (Form.OUTPUT, ("other", "cotangent")),
}

Shape = tuple[int, ...]

# Up to so many convolutions of one vmap stand side by side in a CPU's program, since XLA:CPU runs
# the operations in a loop on one thread.
WRITTEN_OUT = 8


class Convolution(NamedTuple):
    """The functions that make a convolution; ``static`` is hashable and goes with every call.

    All operands and results have the same rank and dtype; images are on the first axis of x, g
    and y.
    """

    name: str
    shape: Callable[[Form, Shape, Shape, Any], Shape]
    """(form, shape of each operand, static) to the shape of the result."""
    default: Callable[[Form, jax.Array, jax.Array, Any], jax.Array]
    cpu: Callable[[Form, jax.Array, jax.Array, Any], jax.Array]
    channels_last: bool
    """True if the last two axes of w are C_in and C_out, and the last axes of x and y are these, so
    that vmap may merge an axis with them."""


Bind = Callable[[Form, jax.Array, jax.Array, Any], jax.Array]


def make_primitive(conv: Convolution) -> Bind:
    """Return the function ``bind(form, lhs, rhs, static)`` that calls a new primitive."""
    primitive = Primitive(conv.name)
    bind = functools.partial(_bind, primitive)
    primitive.def_abstract_eval(functools.partial(_abstract, conv))
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=("form", "static")))
    ad.defbilinear(primitive, *(functools.partial(_transposed, bind, i) for i in (0, 1)))
    batching.primitive_batchers[primitive] = functools.partial(_batched, conv, bind)
    mlir.register_lowering(primitive, _lowering(conv.default))
    mlir.register_lowering(primitive, _lowering(conv.cpu), platform="cpu")
    return bind


def _bind(primitive: Primitive, form: Form, lhs, rhs, static: Any) -> jax.Array:
    return primitive.bind(*_equally_varying(lhs, rhs), form=form, static=static)


def _abstract(conv: Convolution, lhs, rhs, *, form: Form, static: Any):
    """Return the type of a result: its shape, and the rest as the first operand has it."""
    shape = conv.shape(form, lhs.shape, rhs.shape, static)
    if form is Form.FILTER_GRADIENT and any(axis is not None for axis in lhs.sharding.spec):
        replicated = lhs.sharding.update(spec=PartitionSpec(*[None] * lhs.ndim))
        return lhs.update(shape=shape, sharding=replicated)
    return lhs.update(shape=shape)


def _transposed(bind: Bind, operand: int, cotangent, lhs, rhs, *, form: Form, static: Any):
    """Return the gradient by one operand, which JAX leaves unknown."""
    known = {"cotangent": cotangent, "other": (lhs, rhs)[1 - operand]}
    gradient, (first, second) = _TRANSPOSES[form, operand]
    return bind(gradient, known[first], known[second], static)


def _batched(conv: Convolution, bind: Bind, operands, dims, *, form: Form, static: Any):
    """Return the result under vmap, and its mapped axis. A mapped axis is merged with another one
    where only one operand has it."""
    for i in (0, 1):
        merged = dims[1 - i] is None and _mergeable(form, i, conv.channels_last)
        if merged:
            axis, out_axis = merged
            mapped, pair = operands[i], list(operands)
            size = mapped.shape[dims[i]]
            rest = mapped.shape[: dims[i]] + mapped.shape[dims[i] + 1 :]
            pair[i] = _merge(mapped, dims[i], axis)
            y = bind(form, *pair, static)  # pyright: ignore[reportCallIssue]
            out_axis %= y.ndim
            shape = (*y.shape[:out_axis], size, rest[axis], *y.shape[out_axis + 1 :])
            return y.reshape(shape), out_axis

    # Any mapped operands, e.g. those of several seeds at once.
    def each(lhs, rhs):
        return bind(form, lhs, rhs, static)

    def default(lhs, rhs):
        return conv.default(form, lhs, rhs, static)

    return lax.platform_dependent(
        *operands,
        cpu=functools.partial(_one_by_one, each, dims),
        default=jax.vmap(default, dims),
    ), 0


def _one_by_one(function: Callable, dims, *operands) -> jax.Array:
    """Return ``vmap`` of a function of two operands, computed call by call or, for many, in a
    loop."""
    fronts = [jnp.moveaxis(a, d, 0) for a, d in zip(operands, dims, strict=True) if d is not None]

    def one(mapped):
        rest = iter(mapped)
        pair = [a if d is None else next(rest) for a, d in zip(operands, dims, strict=True)]
        return function(*pair)

    size = fronts[0].shape[0]  # may be symbolic, under jax.export
    if isinstance(size, int) and 0 < size <= WRITTEN_OUT:
        return jnp.stack([one([a[i] for a in fronts]) for i in range(size)])
    return lax.map(one, fronts)


def _lowering(function: Callable):
    return mlir.lower_fun(
        lambda lhs, rhs, *, form, static: function(form, lhs, rhs, static),
        multiple_results=False,
    )


def _mergeable(form: Form, operand: int, channels_last: bool) -> tuple[int, int] | None:
    """Return the axes of the operand and of the result with which a mapped axis can be merged."""
    if operand == 0 and form is not Form.FILTER_GRADIENT:
        return 0, 0  # more images
    if not channels_last:
        return None
    if form is Form.FILTER_GRADIENT:
        return (-1, -2) if operand == 0 else (-1, -1)
    return (-1, -1) if form is Form.OUTPUT else (-2, -1)


def _merge(a: jax.Array, dim: int, axis: int) -> jax.Array:
    """Merge the axis ``dim`` with another one of the operand, as its slow part."""
    axis %= a.ndim - 1
    a = jnp.moveaxis(a, dim, axis)
    return a.reshape(*a.shape[:axis], a.shape[axis] * a.shape[axis + 1], *a.shape[axis + 2 :])


def transpose(function: Callable, shape: Shape, cotangent) -> jax.Array:
    """Return the transpose of a linear function of an array of ``shape``. Unlike
    jax.linear_transpose it works under shard_map. The function itself is never computed."""
    like = jax.tree.leaves(cotangent)[0]
    zero = jnp.zeros(shape, like.dtype) + like.ravel()[:0].sum()
    return jax.vjp(function, zero)[1](cotangent)[0]


def by_transposes(conv: Callable, form: Form, lhs, rhs, shape: Shape) -> jax.Array:
    """Return any form, of ``shape``, computed by a function ``conv(x, w)`` or its transposes."""
    if form is Form.OUTPUT:
        return conv(lhs, rhs)
    if form is Form.INPUT_GRADIENT:
        return transpose(lambda x: conv(x, rhs), shape, lhs)
    return transpose(lambda w: conv(lhs, w), shape, rhs)


def _equally_varying(lhs: jax.Array, rhs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the operands as varying over the same mesh axes under shard_map, as JAX's own
    operations make them. An empty sum is zero and carries the axes of the other operand in every
    version of JAX."""
    if _variance(lhs) == _variance(rhs):
        return lhs, rhs
    return lhs + rhs.ravel()[:0].sum(), rhs + lhs.ravel()[:0].sum()


def _variance(a: jax.Array):
    kind = jax.typeof(a)
    return getattr(kind, "vma", None), getattr(kind, "manual_axis_type", None)
