"""Dropout of whole examples and channels: what the layers of NNX and Linen share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def drop_examples(x: Any, dropout: Callable[[jax.Array], jax.Array]) -> Any:
    """Return ``[N, ...]``, or a tree of such arrays, without the examples that ``dropout`` drops.

    Args:
        x: an array or a tree of arrays with the same first axis.
        dropout: a function of ``[N]`` ones, which returns 0 for what is dropped, and a factor.
    """
    x = jax.tree.map(jnp.asarray, x)
    first = jax.tree.leaves(x)[0]
    if first.ndim < 1:
        raise ValueError("`x` must be [N, ...], got a number")
    floating = jnp.issubdtype(first.dtype, jnp.inexact)
    ones = jnp.ones(first.shape[0], first.dtype if floating else float)
    kept = dropout(ones)
    if kept is ones:  # in evaluation
        return x
    return jax.tree.map(lambda a: keep(a, kept.reshape(a.shape[:1] + (1,) * (a.ndim - 1))), x)


def keep(x: jax.Array, factors: jax.Array) -> jax.Array:
    """Return ``x`` times the factors, and 0 where they are 0, even where ``x`` is infinite."""
    return jnp.where(factors == 0, jnp.zeros((), x.dtype), x * factors)


def check_rate(name: str, rate: float) -> float:
    """Return the rate of a dropout; ValueError unless it is a number from 0 to 1."""
    if not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise ValueError(f"`{name}` must be a number from 0 to 1, got {rate!r}")
    return rate
