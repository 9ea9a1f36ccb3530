"""Copies of Flax models, as they are and with parameters and statistics perturbed.

A fresh model hides faults. Its statistics are 0 and 1, its biases 0 and its scales 1, equal for all
orientations and pixels, whichever axis they belong to. The law has to hold for all values that
training may give them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

GROWTH = 0.25
"""The size by which values grow, relative to the root mean square of their array.

It is large enough that signals stay larger than the offsets of deep networks, and small enough that
44 layers stay within float16."""
OFFSET = 0.1
"""The size of numbers in place of zeros; larger ones would exceed the signal after some layers."""
LINEN_COLLECTIONS = ("params", "batch_stats")


def is_flax(model: object) -> bool:
    """Return whether this is a module of NNX or Linen."""
    from flax import linen, nnx  # their import loads Optax

    return isinstance(model, nnx.Module | linen.Module)


def copy_of(fn: Any) -> Any:
    """Return a copy of a module, in which its state may change in training mode.

    Other functions, and modules without such state, are returned themselves.
    """
    from flax import linen, nnx  # their import loads Optax

    if isinstance(fn, nnx.Module):
        return nnx.clone(fn)
    if isinstance(fn, linen.Module) and fn.scope is not None and fn.scope.mutable:
        return _rebound(fn, fn.variables)
    return fn


def perturbed(model: Any) -> Any:
    """Return a copy of an NNX or bound Linen module with other parameters and batch statistics.

    The perturbation is the same at each call. Values grow by a random part of their size. So they
    keep their signs: variances stay positive, and a learned support that is the whole group stays
    whole. Arrays of zeros become random numbers, which are positive for statistics. Their size is
    about 0.1 for an array with one axis, such as a bias, and that of a fresh filter for an array
    with several. Variables of other types, such as keys, counters and buffers of one's own, stay.

    >>> from flax import nnx
    >>> from gconv_jax.testing.perturbation import perturbed
    >>> norm = nnx.BatchNorm(4, rngs=nnx.Rngs(0))
    >>> print((norm.var[...] == 1).all(), (perturbed(norm).var[...] > 1).all())
    True True
    """
    from flax import linen, nnx  # their import loads Optax

    rng = np.random.default_rng(0)
    if isinstance(model, nnx.Module):
        model = nnx.clone(model)
        nnx.update(model, _perturb(nnx.state(model, nnx.Param), rng, signed=True))
        nnx.update(model, _perturb(nnx.state(model, nnx.BatchStat), rng, signed=False))
        return model
    if isinstance(model, linen.Module):
        if model.scope is None:
            raise ValueError("a Linen `model` must be bound: pass module.bind(variables)")
        variables = dict(model.variables)
        for name in LINEN_COLLECTIONS:
            if name in variables:
                variables[name] = _perturb(variables[name], rng, signed=name == "params")
        return _rebound(model, variables)
    raise TypeError(f"`model` must be an NNX or Linen module, got {model!r}")


def _rebound(model, variables):
    module, _ = model.unbind()
    rngs = model.scope.rngs  # Flax's own type for keys, which its annotation leaves out
    return module.bind(variables, rngs=rngs, mutable=model.scope.mutable)


def _perturb(tree, rng: np.random.Generator, *, signed: bool):
    return jax.tree.map(lambda leaf: _perturb_leaf(leaf, rng, signed), tree)


def _perturb_leaf(leaf, rng: np.random.Generator, signed: bool):
    """Return the perturbed values of one array; with ``signed`` zeros become negative as well."""
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) or not jnp.size(leaf):
        return leaf
    value = np.asarray(leaf)
    value = value.astype(np.complex128 if jnp.iscomplexobj(leaf) else np.float64)
    length = np.abs(value)
    if size := np.sqrt(np.mean(length**2)):
        step = GROWTH * size
    elif value.ndim > 1:  # larger ones would make networks of many such layers explode
        step = np.sqrt(value.shape[-1] / value.size)
    else:
        step = OFFSET
    signs = rng.choice([-1.0, 1.0], size=value.shape) if signed else 1.0
    direction = np.where(length > 0, value / np.where(length > 0, length, 1), signs)
    value = value + step * np.abs(rng.normal(size=value.shape)) * direction
    return jnp.asarray(value).astype(leaf.dtype)
