"""The equivariant part of an ordinary filter, and its distance from it."""

from typing import Any

import jax
import jax.numpy as jnp

from gconv_jax.groups.fields import Fields, check_fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.element_move import ElementMove
from gconv_jax.ops.accumulation import accumulation_dtype
from gconv_jax.ops.arguments import spatial_axes

CHANNELS = ("feature_map", "image")


def project_kernel(
    w: jax.Array,
    *,
    group: FiniteGroup,
    input_action: str | Fields = "feature_map",
    output_action: str | Fields = "feature_map",
) -> jax.Array:
    """Return the equivariant part of the filter of an ordinary convolution.

    ``P w = 1/|G| sum_g rho_out(g) w(g^-1 .) rho_in(g)^-1`` is the orthogonal projection onto the
    filters whose convolution obeys the law. For feature maps these are exactly the banks that
    `filter_bank` makes, and the first C_out output channels of the result are the base filter of
    `GroupConv` (of `LiftConv`, from an image). ``w - P w`` is what breaks the symmetry.

    Args:
        w: ``[*kernel, C_in', C_out']`` as ``nnx.Conv`` has it. The channels of a feature map are
            ``C' = |G| C`` with the group index slow, as merged by ``reshape``.
        group: a symmetry that maps the square or cubic lattice onto itself.
        input_action, output_action: what the channels are: ``"feature_map"``, ``"image"`` for
            numbers, such as the pixels of the first layer or the logits of the last, or a
            `gconv_jax.Fields`.

    Returns:
        An array of the same shape and dtype.

    Raises:
        ValueError: the channels are not divisible by the order of the group or not those of the
            fields, the kernel's sides are exchanged and differ, or the group is finer than the
            lattice.

    >>> import jax
    >>> from gconv_jax import P4, filter_bank, project_kernel
    >>> w = jax.random.normal(jax.random.key(0), (3, 3, 8, 12))
    >>> even = project_kernel(w, group=P4)
    >>> bank = filter_bank(even[..., :3].reshape(3, 3, 4, 2, 3), group=P4)
    >>> bool(abs(bank - even).max() < 1e-6)
    True
    """
    check_group(group)
    w = jnp.asarray(w)
    actions = {"C_in": input_action, "C_out": output_action}
    _check(w, group, actions)
    dtype = accumulation_dtype(w.dtype)
    total = jnp.zeros(w.shape, dtype)
    for g in group.elements:
        move = ElementMove(group, g)
        moved = move.image(w.reshape(*w.shape[: group.dimension], -1)).reshape(w.shape)
        moved = _act_on_last(moved.swapaxes(-1, -2), move, input_action).swapaxes(-1, -2)
        total = total + _act_on_last(moved, move, output_action).astype(dtype)
    return (total / group.order).astype(w.dtype)


def kernel_penalty(
    w: jax.Array,
    *,
    group: FiniteGroup,
    input_action: str | Fields = "feature_map",
    output_action: str | Fields = "feature_map",
) -> jax.Array:
    """Return the squared distance of a filter from its equivariant part.

    ``|w - P w|^2`` with P of `project_kernel`. Times a coefficient, or a schedule, it pulls an
    ordinary network towards an equivariant one during training. It depends on parameters alone, so
    it costs much less than `equivariance_penalty`.

    Args:
        w, group, input_action, output_action: as in `project_kernel`.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, kernel_penalty
    >>> w = jnp.zeros((3, 3, 1, 1)).at[0, 1].set(1.0)  # one of four taps that P4M exchanges
    >>> float(kernel_penalty(w, group=P4M, input_action="image", output_action="image"))
    0.75
    """
    even = project_kernel(w, group=group, input_action=input_action, output_action=output_action)
    return jnp.square((w - even).astype(accumulation_dtype(even.dtype))).sum()


def _act_on_last(w: jax.Array, move: ElementMove, action: str | Fields) -> jax.Array:
    """Return ``w`` with the element's action on its last axis."""
    if isinstance(action, Fields):
        return move.turn(w, action)
    if action == "image":
        return w
    split = w.reshape(*w.shape[:-1], move.group.order, -1)
    return move.permute(split).reshape(w.shape)


def _check(w: jax.Array, group: FiniteGroup, actions: dict[str, Any]) -> None:
    if not all(isometry.is_lattice for isometry in group.isometries) or group.is_hexagonal:
        raise ValueError(
            f"`group` must map the square or cubic lattice onto itself, such as P4M, got {group!r}"
        )
    rank = group.dimension
    if w.ndim != rank + 2 or not jnp.issubdtype(w.dtype, jnp.floating):
        axes = ", ".join(spatial_axes(rank))
        raise ValueError(
            f"`w` must be floating, [{axes}, C_in, C_out] for {group!r}, got {w.dtype} of shape "
            f"{w.shape}"
        )
    for (name, action), channels in zip(actions.items(), w.shape[-2:], strict=True):
        argument = "input_action" if name == "C_in" else "output_action"
        if isinstance(action, Fields):
            check_fields(action, group, channels, name)
        elif action not in CHANNELS:
            raise ValueError(f"`{argument}` must be feature_map, image or a Fields, got {action!r}")
        elif action == "feature_map" and channels % group.order:
            raise ValueError(
                f"`w` must have {name} divisible by the {group.order} elements of {group!r} for "
                f'{argument}="feature_map", got shape {w.shape}'
            )
    kernel = w.shape[:rank]
    for g in group.elements:
        turned = ElementMove(group, g).image(jnp.zeros((*kernel, 1))).shape[:rank]
        if turned != kernel:
            raise ValueError(
                f"`w` must have equal sides, since {group.element_name(g)} of {group!r} exchanges "
                f"them, got a kernel of {kernel}"
            )
