"""A map over a few images at a time, so that intermediate arrays stay in a CPU's cache."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def map_in_chunks(f: Callable, operands: tuple[jax.Array, ...], chunk: int | None, *, add=False):
    """Apply ``f`` to ``chunk`` images at a time; return the results in a row, or their sums.

    Args:
        f: a function of arrays with images on the first axis. It returns one such array, or with
            ``add`` any pytree of sums over the images.
        operands: arrays with the same number of images, at least one.
        chunk: about how many images to take at a time, at least one; None for all.
        add: whether the results are added.
    """
    n = operands[0].shape[0]
    if chunk is None or not isinstance(n, int):  # a symbolic size, under jax.export
        return f(*operands)
    chunk = max(1, min(n, chunk))
    # A divisor nearby saves a second program for the images that are left over.
    chunk = next((c for c in range(chunk, chunk // 2, -1) if n % c == 0), chunk)
    if chunk == n:
        return f(*operands)
    whole = n // chunk * chunk
    chunks = tuple(a[:whole].reshape(-1, chunk, *a.shape[1:]) for a in operands)
    rest = tuple(a[whole:] for a in operands)
    if not add:
        y = lax.map(lambda parts: f(*parts), chunks)
        y = y.reshape(whole, *y.shape[2:])
        return y if whole == n else jnp.concatenate([y, f(*rest)])

    def step(total, parts):
        return jax.tree.map(jnp.add, total, f(*parts)), None

    if whole < n:
        first = f(*rest)
    else:
        shapes = jax.eval_shape(f, *(a[0] for a in chunks))
        first = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return lax.scan(step, first, chunks)[0]
