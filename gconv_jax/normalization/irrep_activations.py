"""Nonlinearities of features in the Fourier basis that need no transform to the elements.

The part of an irrep of dimension d and commutant dimension e, ``[..., d / e, d, C]``, holds d / e
copies of the irrep for each channel, since the group acts on the rows and the columns come in
blocks of e that belong together. The norm of a copy does not change under the group, and a factor
that does not change keeps the law. `IrrepFeatures.pointwise` is the alternative: it applies an
elementwise function at each element of the group, and takes two transforms.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer, lecun_normal, zeros

from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.groups.irrep_features import TRIVIAL, IrrepFeatures, named_irreps

Activation = Callable[[jax.Array], jax.Array]


def copy_count(group: FiniteGroup) -> int:
    """Return the number of copies of irreps other than the trivial one, for each channel.

    It is the sum of d / e: what a gate or a norm is needed for.

    >>> from gconv_jax import P4, P4M
    >>> copy_count(P4), copy_count(P4M)
    (2, 5)
    """
    return sum(len(irrep.rows) for name, irrep in named_irreps(group) if name != TRIVIAL)


def gate_init(group: FiniteGroup) -> Initializer:
    """Return the initializer of the map to the gates: JAX's cannot make arrays without entries,
    which the trivial group needs."""
    return lecun_normal() if copy_count(group) else zeros


def norm_activation(
    x: IrrepFeatures, bias: jax.Array | None = None, *, fn: Activation = jax.nn.relu
) -> IrrepFeatures:
    """Return features whose irreps keep their directions while their norms go through ``fn``.

    ``y = fn(|x| + b) x / |x|`` for each copy of an irrep and each channel (Worrall et al. 2017,
    arXiv:1612.04642), and ``fn(x + b)`` for the invariant part. Where a norm is 0, the result and
    the gradient are 0.

    Args:
        x: `IrrepFeatures`.
        bias: ``[1 + copies, C]``, that of the invariant part first, then in the order of the
            irreps; by default 0. `copy_count` is the number of copies.
        fn: a function of real numbers, applied elementwise.

    Returns:
        `IrrepFeatures` of the same shape and dtype.

    Raises:
        TypeError, ValueError: features in the other basis, or a bias of another shape.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, norm_activation, to_irreps
    >>> x = to_irreps(jnp.arange(8.0).reshape(4, 2), group=P4)
    >>> norm_activation(x).channels
    2
    """
    x = require_irreps(x, "norm_activation")
    shape = 1 + copy_count(x.group), x.channels
    bias = jnp.zeros(shape, x.dtype) if bias is None else jnp.asarray(bias).astype(x.dtype)
    if bias.shape != shape:
        raise ValueError(f"`bias` must be [1 + copies, C] = {list(shape)}, got shape {bias.shape}")

    def scale(blocks: jax.Array, b: jax.Array) -> jax.Array:
        squares = jnp.square(blocks).sum((-4, -2), keepdims=True)
        some = squares > 0  # the derivative of a square root at 0 is infinite
        norm = jnp.sqrt(jnp.where(some, squares, 1))
        return jnp.where(some, blocks * (fn(norm + b[:, None]) / norm), 0)

    return _copywise(x, scale, bias[1:], fn(x.parts[TRIVIAL] + bias[0]))


def gate_irreps(
    x: IrrepFeatures,
    gates: jax.Array,
    *,
    gate_fn: Activation = jax.nn.sigmoid,
    fn: Activation = jax.nn.relu,
) -> IrrepFeatures:
    """Return features whose irreps are scaled by gates.

    ``y = gate_fn(gate) x`` for each copy of an irrep and each channel (Weiler et al. 2018,
    arXiv:1807.02547), and ``fn(x)`` for the invariant part. The gates must be invariant, such as
    linear maps of the invariant part (`gconv_jax.nnx.GatedActivation`).

    Args:
        x: `IrrepFeatures`.
        gates: ``[..., copies, C]`` with the batch axes of ``x``, in the order of the irreps;
            `copy_count` is the number of copies.
        gate_fn, fn: functions of real numbers, applied elementwise.

    Returns:
        `IrrepFeatures` of the same shape and dtype.

    Raises:
        TypeError, ValueError: features in the other basis, or gates of another shape.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, gate_irreps, to_irreps
    >>> x = to_irreps(jnp.ones((3, 4, 2)), group=P4)
    >>> gate_irreps(x, jnp.zeros((3, 2, 2))).batch
    (3,)
    """
    x, gates = require_irreps(x, "gate_irreps"), jnp.asarray(gates)
    shape = *x.batch, copy_count(x.group), x.channels
    if gates.shape != shape:
        raise ValueError(f"`gates` must be [..., copies, C] = {list(shape)}, got {gates.shape}")
    factors = gate_fn(gates.astype(x.dtype))

    def scale(blocks: jax.Array, f: jax.Array) -> jax.Array:
        return blocks * f[..., None, :, None, :]

    return _copywise(x, scale, factors, fn(x.parts[TRIVIAL]))


def require_irreps(x: IrrepFeatures, caller: str) -> IrrepFeatures:
    """Return ``x``; TypeError unless it is `IrrepFeatures`."""
    if not isinstance(x, IrrepFeatures):
        raise TypeError(
            f"`x` must be IrrepFeatures for {caller}, got {type(x).__name__}: use to_irreps, or "
            "apply the function to features [..., |G|, C] as they are"
        )
    return x


def _copywise(
    x: IrrepFeatures,
    fn: Callable[[jax.Array, jax.Array], jax.Array],
    numbers: jax.Array,
    invariant: jax.Array,
) -> IrrepFeatures:
    """Return ``fn(blocks, numbers)`` of each part ``[..., rows, copies, e, C]`` but the trivial
    one, with its share ``[..., copies, C]`` of the numbers."""
    parts, start = {TRIVIAL: invariant}, 0
    for name, irrep in named_irreps(x.group):
        if name == TRIVIAL:
            continue
        part, copies = x.parts[name], len(irrep.rows)
        blocks = part.reshape(*part.shape[:-2], copies, irrep.endomorphisms, x.channels)
        blocks = fn(blocks, numbers[..., start : start + copies, :])
        parts[name], start = blocks.reshape(part.shape), start + copies
    return IrrepFeatures(parts, x.group)
