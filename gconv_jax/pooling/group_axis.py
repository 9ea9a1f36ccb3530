"""Pooling over the group and over cosets; restriction to a subgroup, and induction."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.ops.maximum import max_over

_REDUCERS = {"max": max_over, "mean": jnp.mean}


def group_pool(
    x: jax.Array, *, reduce: Literal["max", "mean"] = "max", group: FiniteGroup | None = None
) -> jax.Array:
    """Pool over all group elements: a feature map on the group becomes an image.

    The result is ``y(p) = max_g x(p, g)``, or the mean. It turns with the input. Once space is
    pooled too, it is invariant (Cohen & Welling 2016, arXiv:1602.07576, section 6.3).

    Args:
        x: a feature map ``[..., |G|, C]``.
        reduce: ``"max"`` or ``"mean"``.
        group: G. The group axis is compared with it. An array of four axes needs it, since it may
            be a batch of images, whose width would be pooled.

    Returns:
        ``[..., C]``.

    Raises:
        ValueError: ``x`` is not, or may not be, a feature map on the group.

    >>> import jax.numpy as jnp
    >>> group_pool(jnp.ones((2, 9, 9, 4, 5))).shape
    (2, 9, 9, 5)
    """
    x = jnp.asarray(x)
    if group is not None:
        check_group_axis(x, check_group(group))
    elif x.ndim < 2:
        raise ValueError(f"`x` must be [..., |G|, C], got shape {x.shape}")
    elif x.ndim == 4:
        raise ValueError(
            f"`x` of shape {x.shape} may be images [N, H, W, C], whose width would be pooled: "
            "for a feature map on the group, pass group="
        )
    return _reducer(reduce)(x, -2)


def coset_pool(
    x: jax.Array,
    *,
    group: FiniteGroup,
    subgroup: FiniteGroup,
    reduce: Literal["max", "mean"] = "max",
    onto: FiniteGroup | None = None,
) -> jax.Array:
    """Pool over a subgroup: a feature map on G becomes a quotient field on the left cosets G/H.

    The result is ``y(p, gH) = max_{h in H} x(p, gh)`` (Cohen & Welling 2016, arXiv:1602.07576,
    section 6.3). The cosets are left ones, since L_u takes the coset gH to ugH. Right cosets are
    not permuted among themselves when H is not normal, e.g. a mirroring in p4m. The action on the
    result is ``transform(..., subgroup=H)``.

    Args:
        x: a feature map ``[..., |G|, C]``.
        group, subgroup: G and H.
        reduce: ``"max"`` or ``"mean"``.
        onto: a subgroup K of G with one element in each coset, such as the rotations beside a
            mirroring. Then the result is a feature map on K, ``y(p, k) = max_{h in H} x(p, kh)``,
            for layers over K. It stays equivariant under K and becomes invariant under H.

    Returns:
        ``[..., |G| / |H|, C]``, cosets in the order of ``group.cosets(subgroup)``, or ``[..., |K|,
        C]`` in the order of ``onto``.

    Raises:
        ValueError: ``x`` lacks the group axis, ``subgroup`` is none, or ``onto`` misses a coset.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, P4M, mirror
    >>> coset_pool(jnp.ones((2, 9, 9, 8, 5)), group=P4M, subgroup=P4).shape
    (2, 9, 9, 2, 5)
    >>> coset_pool(jnp.ones((2, 9, 9, 8, 5)), group=P4M, subgroup=mirror(), onto=P4).shape
    (2, 9, 9, 4, 5)
    """
    x = jnp.asarray(x)
    check_group_axis(x, group)
    cosets = group.cosets(subgroup)
    if onto is not None:
        cosets = group.cayley[group.indices(onto)][:, group.indices(subgroup)]  # [k, h] -> k h
        if sorted(cosets.ravel()) != list(group.elements):
            raise ValueError(
                f"`onto` must have one element in each of the {group.order // subgroup.order} "
                f"cosets of {subgroup!r} in {group!r}, got {onto!r}"
            )
    return _reducer(reduce)(x[..., cosets, :], -2)


def restrict(x: jax.Array, *, group: FiniteGroup, subgroup: FiniteGroup) -> jax.Array:
    """Return a feature map on G as one on a subgroup H, with [G:H] times the channels.

    The result is ``y(p, h, (i, c)) = x(p, h g_i, c)`` with representatives g_i of the right cosets
    Hg. Nothing is lost; the layers that follow need only respect H. With the trivial group, all
    orientations become ordinary channels.

    Args:
        x: a feature map ``[..., |G|, C]``.
        group, subgroup: G and H.

    Returns:
        ``[..., |H|, [G:H] C]``, the coset as the slow index of the channels.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, P4M
    >>> restrict(jnp.ones((2, 9, 9, 8, 5)), group=P4M, subgroup=P4).shape
    (2, 9, 9, 4, 10)
    """
    x = jnp.asarray(x)
    check_group_axis(x, group)
    cosets = group.cosets(subgroup, side="right")  # [i, h] -> h g_i
    return x[..., cosets.T, :].reshape(*x.shape[:-2], subgroup.order, -1)


def induce(x: jax.Array, *, group: FiniteGroup, subgroup: FiniteGroup) -> jax.Array:
    """Return a feature map on a subgroup H as one on G: the same on H, and 0 elsewhere.

    The result is ``y(p, h, c) = x(p, h, c)`` for h in H. It keeps the law of H, ``induce(L_h x) ==
    L_h induce(x)``, so that layers over G can follow layers over H. It is the adjoint of taking the
    first C channels of `restrict`: ``restrict(induce(x))`` is x in those and 0 in the others.

    Args:
        x: a feature map ``[..., |H|, C]``.
        group, subgroup: G and H.

    Returns:
        ``[..., |G|, C]``.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, P4M
    >>> induce(jnp.ones((2, 9, 9, 4, 5)), group=P4M, subgroup=P4).shape
    (2, 9, 9, 8, 5)
    """
    members = check_group(group).indices(subgroup)
    check_group_axis(x, subgroup)
    x = jnp.asarray(x)
    y = jnp.zeros((*x.shape[:-2], group.order, x.shape[-1]), x.dtype)
    return y.at[..., members, :].set(x)


def _reducer(reduce: str) -> Callable[..., jax.Array]:
    if reduce not in _REDUCERS:
        raise ValueError(f"`reduce` must be one of {sorted(_REDUCERS)}, got {reduce!r}")
    return _REDUCERS[reduce]


def check_group_axis(x: jax.Array, group: FiniteGroup) -> None:
    check_group(group)
    if x.ndim < 2 or x.shape[-2] != group.order:
        raise ValueError(
            f"`x` must be [..., |G|={group.order}, C] for {group!r}, got shape {x.shape}"
        )
