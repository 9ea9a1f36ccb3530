"""A G-CNN that starts from a plain network that was trained before."""

from typing import Any

import jax
import jax.numpy as jnp

from gconv_jax.groups.finite import FiniteGroup, check_group


def start_from(plain: Any, target: Any, *, group: FiniteGroup) -> Any:
    """Return the parameters of a G-CNN that computes what a trained plain network computes.

    Each orientation h of the G-CNN starts as the plain network on the turned image, ``F(x)[h] =
    L_h f(L_h^-1 x)``: filters between feature maps are those of the plain network at the identity
    and zero at all other elements. With a mean over the group at the end it is the symmetrization
    of the plain network (`symmetrize`), in which only filters are turned, wherever strided layers
    keep the law (they warn where image sizes do not). Training goes on from there, and learns what
    the orientations can tell each other.

    The G-CNN needs the layers of the plain network under the same names, with as many channels for
    each group element as that has channels: `LiftConv` in place of its first convolution,
    `GroupConv` and `GroupLinear` in place of the others, and the same normalizations. Filters of
    transposed convolutions have to be flipped before (``w[::-1, ::-1]``), since Flax's are not.

    Args:
        plain: the parameters of the plain network: a tree of arrays, such as Linen's
            ``variables["params"]`` or ``nnx.state(model)``. Batch statistics may be part of it.
        target: those of the G-CNN, or their shapes (``nnx.eval_shape``, ``jax.eval_shape``).
        group: the symmetry of the G-CNN.

    Returns:
        A tree with the structure of ``target``.

    Raises:
        ValueError: a parameter has no counterpart, or one of another shape.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4, start_from
    >>> from gconv_jax.nnx import GroupConv, LiftConv
    >>> rngs = nnx.Rngs(0)
    >>> plain = nnx.Sequential(nnx.Conv(1, 4, (3, 3), rngs=rngs), nnx.relu,
    ...                        nnx.Conv(4, 2, (3, 3), rngs=rngs))
    >>> even = nnx.Sequential(LiftConv(1, 4, 3, group=P4, rngs=rngs), nnx.relu,
    ...                       GroupConv(4, 2, 3, group=P4, rngs=rngs))
    >>> nnx.update(even, start_from(nnx.state(plain), nnx.state(even), group=P4))
    >>> x = jax.random.normal(rngs(), (1, 8, 8, 1))
    >>> bool(abs(even(x)[..., 0, :] - plain(x)).max() < 1e-5)  # the identity sees the image
    True
    """
    check_group(group)
    sources = {jax.tree_util.keystr(k): v for k, v in jax.tree_util.tree_leaves_with_path(plain)}
    places, structure = jax.tree_util.tree_flatten_with_path(target)
    names = [jax.tree_util.keystr(path) for path, _ in places]
    if missing := sorted(set(names) ^ set(sources)):
        where = "plain" if missing[0] in names else "target"
        raise ValueError(
            f"`{where}` must have a parameter {missing[0]}, as the other network has; layers need "
            "the same names in both"
        )
    leaves = [
        _embed(sources[name], jnp.shape(leaf), group, name)
        for name, (_, leaf) in zip(names, places, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


def _embed(source: Any, shape: tuple[int, ...], group: FiniteGroup, name: str) -> jax.Array:
    """Return a parameter of the plain network, as one of the G-CNN with this shape."""
    found = jnp.shape(source)
    if found == shape:
        return source
    if len(found) >= 2 and shape == (*found[:-2], group.order, *found[-2:]):
        elsewhere = jnp.zeros((*found[:-2], group.order - 1, *found[-2:]), source.dtype)
        return jnp.concatenate([jnp.expand_dims(source, -3), elsewhere], -3)
    raise ValueError(
        f"`target` must have {name} of shape {found}, or with a group axis of {group.order} before "
        f"its channels, got {shape}: the G-CNN needs as many channels for each element as the "
        "plain network has"
    )
