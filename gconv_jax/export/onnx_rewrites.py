"""Operations that ONNX lacks, in simpler operations of JAX that it has.

`rewritten` gives a function that takes the place of an equation. The writer of ONNX models traces
the function and writes its operations.
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import lax

from gconv_jax.export.jaxpr import bind
from gconv_jax.export.onnx_graph import is_static, unsupported

# Operations that ONNX has for numbers, but not for booleans.
_OF_NUMBERS = {"lt", "le", "gt", "ge", "reduce_max", "reduce_min", "argmax", "argmin"}
_BITWISE = {"max": lax.bitwise_or, "min": lax.bitwise_and}
# Operations that ONNX runtimes have for integers of 32 bits, and seldom for shorter ones.
_ARITHMETIC = {
    "add", "sub", "mul", "div", "rem", "max", "min", "pow", "integer_pow", "square", "neg", "abs",
    "sign", "clamp", "eq", "ne", "lt", "le", "gt", "ge", "select_n", "reduce_sum", "reduce_max",
    "reduce_min", "reduce_prod", "cumsum", "argmax", "argmin", "dot_general",
}  # fmt: skip


def rewritten(equation) -> Callable | None:
    """Return a function that computes the results of an equation in simpler operations.

    None where the equation is simple already.
    """
    if not equation.invars:
        return None
    kind, dtype = equation.primitive.name, equation.invars[0].aval.dtype
    if kind in _OTHERWISE:
        return partial(_OTHERWISE[kind], **equation.params)
    if kind == "round" and equation.params["rounding_method"] == lax.RoundingMethod.AWAY_FROM_ZERO:
        return _round_away
    if kind == "convert_element_type" and jnp.issubdtype(dtype, jnp.floating):
        new = equation.params["new_dtype"]
        return partial(_to_short, dtype=new) if _is_short(new) else None
    if kind == "select_n" and len(equation.invars) > 3:
        return _select
    if kind == "pad" and any(interior for _, _, interior in equation.params["padding_config"]):
        return partial(_pad, config=equation.params["padding_config"])
    if kind in _BITWISE and dtype == jnp.bool_:
        return _BITWISE[kind]
    if kind in _OF_NUMBERS and dtype == jnp.bool_:
        return _wider(equation)
    if kind == "select_n" and equation.outvars[0].aval.dtype == jnp.bool_:
        return lambda which, no, yes: (which & yes) | (~which & no)
    if kind in _ARITHMETIC and any(_is_short(v.aval.dtype) for v in equation.invars):
        return _wider(equation)
    return None


def _is_short(dtype) -> bool:
    return jnp.issubdtype(dtype, jnp.integer) and np.dtype(dtype).itemsize < 4


def _wider(equation) -> Callable:
    """Return the equation in integers of 32 bits; the result wraps around as shorter ones do."""

    def run(*values):
        wide = [v.astype(jnp.int32) if _is_short(v.dtype) else v for v in values]
        if equation.primitive.name in _OF_NUMBERS:
            wide = [v.astype(jnp.int32) if v.dtype == jnp.bool_ else v for v in wide]
        results = bind(_Typed(equation), *wide)
        return [y.astype(v.aval.dtype) for y, v in zip(results, equation.outvars, strict=True)]

    return run


class _Typed:
    """An equation without the type that its result had."""

    def __init__(self, equation):
        self.primitive = equation.primitive
        self.params = equation.params
        if "preferred_element_type" in equation.params:
            self.params = equation.params | {"preferred_element_type": None}


def _to_short(x, *, dtype):
    """Convert numbers to short integers; numbers that are too large become the largest."""
    low, high = (np.array(n, x.dtype) for n in (jnp.iinfo(dtype).min, jnp.iinfo(dtype).max))
    return lax.clamp(low, x, high).astype(jnp.int32).astype(dtype)


def _round_away(x):
    size = lax.floor(lax.abs(x))
    return lax.sign(x) * jnp.where(lax.abs(x) - size >= 0.5, size + 1, size)


def _select(which, *cases):
    result = cases[0]
    for i, case in enumerate(cases[1:], 1):
        result = jnp.where(which == i, case, result)
    return result


def _cbrt(x, **_):
    return lax.sign(x) * lax.pow(lax.abs(x), jnp.full_like(x, 1 / 3))


def _atan2(y, x):
    def negative(v):  # the sign of 1 / v tells the two zeros apart
        return (v < 0) | ((v == 0) & (1 / v < 0))

    up, right = lax.abs(y), lax.abs(x)
    ratio = jnp.where(up == right, jnp.where(up == 0, right, jnp.ones_like(x)), up / right)
    angle = lax.atan(ratio)
    angle = jnp.where(negative(x), np.array(np.pi, x.dtype) - angle, angle)
    return jnp.where(negative(y), -angle, angle)


def _pad(x, value, *, config):
    """Pad between entries: each becomes the first of several, and the last padding is cut off."""
    low, high, between = zip(*config, strict=True)
    if not all(is_static(n) for n, b in zip(x.shape, between, strict=True) if b):
        raise unsupported("the operation 'pad' between the images of a batch")
    shape = [n * (1 + b) for n, b in zip(x.shape, between, strict=True)]
    apart = jnp.expand_dims(x, range(1, 2 * x.ndim, 2))
    apart = lax.pad(apart, value, [c for b in between for c in ((0, 0, 0), (0, b, 0))])
    ends = [h - b for h, b in zip(high, between, strict=True)]
    return lax.pad(apart.reshape(shape), value, [(a, b, 0) for a, b in zip(low, ends, strict=True)])


def _any(x, *, axes, **_):
    _only_booleans(x, "reduce_or")
    return lax.reduce_max(x.astype(jnp.int32), axes).astype(jnp.bool_)


def _all(x, *, axes, **_):
    _only_booleans(x, "reduce_and")
    return lax.reduce_min(x.astype(jnp.int32), axes).astype(jnp.bool_)


def _odd(x, *, axes, **_):
    _only_booleans(x, "reduce_xor")
    return lax.rem(x.astype(jnp.int32).sum(axes), 2) == 1


def _only_booleans(x, kind: str) -> None:
    if x.dtype != jnp.bool_:
        raise unsupported(f"the operation {kind!r} of {x.dtype}")


def _cumulative(name: str, combine: Callable) -> Callable:
    """Apply an operation to all entries up to each one, in steps over 1, 2, 4 ... of them."""

    def run(x, *, axis, reverse):
        size, step = x.shape[axis], 1
        if not is_static(size):
            raise unsupported(f"the operation {name!r} along the batch")
        while step < size:
            first, rest = lax.split(x, (step, size - step), axis)
            if reverse:
                rest, first = lax.split(x, (size - step, step), axis)
            other = lax.slice_in_dim(x, *((step, size) if reverse else (0, size - step)), axis=axis)
            rest = combine(rest, other)
            x = lax.concatenate([rest, first] if reverse else [first, rest], axis)
            step *= 2
        return x

    return run


def _log_add(x, y):
    high = lax.max(x, y)
    # Two infinities have no difference.
    return jnp.where(x == y, x + np.log(2), high + jnp.log1p(jnp.exp(-lax.abs(x - y))))


def _reduce_precision(x, *, exponent_bits, mantissa_bits):
    kept = jnp.finfo(x.dtype)
    if (exponent_bits, mantissa_bits) == (kept.nexp, kept.nmant):
        return x
    for dtype in (jnp.float16, jnp.bfloat16):
        if (exponent_bits, mantissa_bits) == (jnp.finfo(dtype).nexp, jnp.finfo(dtype).nmant):
            return x.astype(dtype).astype(x.dtype)
    raise unsupported("the operation 'reduce_precision' to these numbers of bits")


def _polynomial(x, *coefficients, unroll=None):
    """Evaluate ``a_0 + a_1 x + a_2 x^2 ...`` by Horner's rule; an operation of jax 0.12."""
    y = jnp.broadcast_to(coefficients[-1], x.shape)
    for coefficient in reversed(coefficients[:-1]):
        y = y * x + coefficient
    return y


_OTHERWISE = {
    "polynomial": _polynomial,
    "cbrt": _cbrt,
    "atan2": _atan2,
    "reduce_or": _any,
    "reduce_and": _all,
    "reduce_xor": _odd,
    "reduce_precision": _reduce_precision,
    "cumprod": _cumulative("cumprod", lax.mul),
    "cummax": _cumulative("cummax", lax.max),
    "cummin": _cumulative("cummin", lax.min),
    "cumlogsumexp": _cumulative("cumlogsumexp", _log_add),
}
