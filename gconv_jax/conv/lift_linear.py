"""The first layer where there is no space: numbers and vectors become features on the group."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import lecun_normal
from jax.typing import DTypeLike

from gconv_jax.groups.fields import Fields, check_fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.ops.accumulation import accumulation_dtype, check_floating

lift_init = lecun_normal()
"""The initializer of the layers."""


def lift_linear(
    x: jax.Array,
    w: jax.Array,
    *,
    group: FiniteGroup,
    fields: Fields,
    bias: jax.Array | None = None,
    dtype: DTypeLike | None = None,
    precision: lax.PrecisionLike = None,
) -> jax.Array:
    """Return features on the group of numbers and vectors: what each orientation sees of them.

    ``y(h) = w^T rho(h)^-1 x + b``, so that ``lift_linear(rho(g) x) == L_g lift_linear(x)`` with
    ``(L_g y)(h) = y(g^-1 h)``; every linear map that keeps this law is one. It is a `lift_conv`
    with filters of one tap, for arrays of any rank: the steps of a trajectory, the forces on a
    body, the action of a robot. `project_fields` is the way back.

    Args:
        x: ``[..., C_in]``, the channels of ``fields``; integers become floating.
        w: ``[C_in, C_out]``.
        group: any finite group but those of hexagons.
        fields: what the channels are.
        bias: ``[C_out]``, shared by all elements.
        dtype: of computation; by default what the arguments promote to.
        precision: as in ``jax.lax``.

    Returns:
        ``[..., |G|, C_out]``.

    Raises:
        ValueError, TypeError: shapes that do not fit, or a hexagonal lattice.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, Fields, lift_linear
    >>> velocity = jnp.array([1.0, 0.0])
    >>> lift_linear(velocity, jnp.eye(2), group=P4, fields=Fields(vectors=1)).tolist()
    [[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [0.0, 1.0]]
    """
    check_group(group)
    x, w = jnp.asarray(x), jnp.asarray(w)
    if x.ndim < 1:
        raise ValueError("`x` must be [..., C_in], got a number")
    rho = check_fields(fields, group, x.shape[-1], "C_in").matrices(group)
    if w.ndim != 2 or w.shape[0] != x.shape[-1]:
        raise ValueError(f"`w` must be [C_in={x.shape[-1]}, C_out], got shape {w.shape}")
    bias = None if bias is None else jnp.asarray(bias)
    if bias is not None and bias.shape != w.shape[1:]:
        raise ValueError(f"`bias` must have shape {w.shape[1:]}, got {bias.shape}")
    given = [w] if bias is None else [w, bias]
    dtype = check_floating(jnp.result_type(x, *given) if dtype is None else dtype)
    long = accumulation_dtype(dtype)
    # Turned filters rather than turned inputs: one product for all elements.
    turned = jnp.einsum(
        "hji,io->jho", jnp.asarray(rho, dtype), w.astype(dtype), precision=lax.Precision.HIGHEST
    )
    y = jnp.tensordot(x.astype(dtype), turned, 1, precision=precision, preferred_element_type=long)
    y = y if bias is None else y + bias.astype(long)
    return y.astype(dtype)
