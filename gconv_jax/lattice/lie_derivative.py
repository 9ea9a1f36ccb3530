"""Lie derivatives: how a function of images breaks the law under infinitely small moves."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import IrrepFeatures
from gconv_jax.lattice.flow import (
    Generator,
    advect,
    affine_generator,
    turn_orientations,
    turn_vectors,
)

Action = str | Fields
ACTIONS = ("image", "feature_map", "orientations", "invariant")


def lie_derivative(
    f: Callable[[jax.Array], Any],
    x: jax.Array,
    generator: Generator = "rotation",
    *,
    group: FiniteGroup | None = None,
    input_action: Action | None = None,
    output_action: Action | None = None,
    spacing: float | Sequence[float] | None = None,
) -> Any:
    """Return the Lie derivative of a function of images, which is 0 if it is equivariant.

    It is ``L f(x) = d/dt rho_out(exp(-tX)) f(rho_in(exp(tX)) x)`` at t = 0, where ``rho(exp(tX))``
    moves the input and the output (Gruver et al. 2022, arXiv:2210.02984). By the chain rule it is
    the change of the output when the input begins to move, which ``jax.jvp`` gives, minus the
    velocity of the output's own move. No angle has to be chosen, and nothing is resampled. It can
    be compiled and differentiated, as a term of a loss as well.

    ``f`` must have forward derivatives, which functions with ``jax.custom_vjp`` lack. Features of
    frequencies near that of the pixels have an error of their own, since their gradients are
    differences of pixels: a pointwise function makes such frequencies, so that aliasing counts.

    Args:
        f: a function of ``x`` that returns an array or a tree of arrays.
        x: images ``[N, H, W, C]``, or feature maps ``[N, H, W, |G|, C]``.
        generator: the velocity of the move, as in `move_tangent`.
        group: the group of the orientations of a feature map. It is needed if a rotation moves one:
            its orientations are taken for samples of a function of the angle, as in
            `gconv_jax.lattice.flow.turn_orientations`.
        input_action, output_action: how input and output move: ``"image"``, ``"feature_map"``,
            ``"orientations"`` (``[..., |G|, C]`` that stay in place), ``"invariant"``, or a
            `gconv_jax.Fields` for images or logits with the components of vectors. By default it is
            read off the shape: ``[N, H, W, C]`` is an image, ``[N, H, W, |G|, C]`` a feature map,
            and ``[N]`` or ``[N, C]``, such as logits, invariant. It is one for all arrays of a
            tree.
        spacing: the distance of two pixels of the output in pixels of the input, such as the
            stride, one for both axes or one for each. An output turns about its own center
            whatever it is, but is shifted ``spacing`` times less. By default it is the ratio of the
            sizes if one divides the other, else the nearest power of two.

    Returns:
        An array of the shape of ``f(x)``, or a tree of them.

    Raises:
        ValueError: an action is unknown, or has no such move.
        TypeError: ``f`` returns something else than floating arrays.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import lie_derivative
    >>> rows = jnp.linspace(-2, 2, 17)[:, None]
    >>> spot = jnp.exp(-(rows**2) - 4 * rows.T**2)[None, :, :, None]  # an ellipse
    >>> print(jnp.abs(lie_derivative(lambda x: (x**2).sum((1, 2)), spot)) < 1e-4)
    [[ True]]
    >>> print(lie_derivative(lambda x: x[:, 8:, 8:].sum((1, 2)), spot).round(1))  # a quadrant
    [[5.5]]
    """
    x = jnp.asarray(x)
    matrix = affine_generator(generator)
    tangent = input_tangent(x, matrix, group, input_action)
    y, change = jax.jvp(f, (x,), (tangent,))
    _require_floating(y)

    def subtract(y: jax.Array, change: jax.Array) -> jax.Array:
        action = find_smooth_action(output_action, y, "output")
        steps = (1.0, 1.0)
        if has_space(y, action):
            steps = find_spacing(spacing, x.shape[1:3], y.shape[1:3])
        return change - action_tangent(y, action, matrix, group, steps)

    return jax.tree.map(subtract, y, change)


def input_tangent(
    x: jax.Array, matrix: np.ndarray, group: FiniteGroup | None, action: Action | None
) -> jax.Array:
    """Return the velocity of the input of a function, as `lie_derivative` describes it.

    ValueError if it is no floating array of images or feature maps.
    """
    if x.ndim not in (4, 5) or not jnp.issubdtype(x.dtype, jnp.inexact):
        raise ValueError(
            f"`x` must be floating images [N, H, W, C] or feature maps [N, H, W, |G|, C], got "
            f"shape {x.shape} of {x.dtype}"
        )
    if group is not None and (check_group(group).dimension != 2 or group.is_hexagonal):
        raise ValueError(f"`group` must act on the plane of square pixels, got {group!r}")
    action = find_smooth_action(action, x, "input")
    return action_tangent(x, action, matrix, group, (1.0, 1.0))


def find_smooth_action(action: Action | None, y: jax.Array, what: str) -> Action:
    """Return the action on ``y``, as it is given, or read off its shape.

    Args:
        action: what the user gave.
        y: an array.
        what: ``"input"`` or ``"output"``, for messages.
    """
    if action is None:
        if y.ndim <= 2:
            return "invariant"
        if y.ndim == 4:
            return "image"
        if y.ndim == 5:
            return "feature_map"
        raise ValueError(
            f"`{what}_action` must be given for an array of shape {y.shape}: one of "
            f"{', '.join(ACTIONS)}, or a Fields"
        )
    if isinstance(action, Fields):
        if y.ndim not in (1, 2, 4):
            raise ValueError(
                f"`{what}_action` must not be a Fields for an array of shape {y.shape}: it is "
                "neither an image nor logits"
            )
        action.check_channels(2, y.shape[-1], f"channels of the {what}")
        return action
    least = {"image": 4, "feature_map": 5, "orientations": 2, "invariant": 0}
    if not isinstance(action, str) or action not in least:
        raise ValueError(
            f"`{what}_action` must be one of {', '.join(ACTIONS)}, or a Fields, got {action!r}"
        )
    if y.ndim < least[action] or (action in ("image", "feature_map") and y.ndim != least[action]):
        raise ValueError(f"`{what}_action` must not be {action!r} for an array of shape {y.shape}")
    return action


def has_space(y: jax.Array, action: Action) -> bool:
    """Return whether an array moved by this action has rows and columns, as axes 1 and 2."""
    return y.ndim == 4 if isinstance(action, Fields) else action in ("image", "feature_map")


def action_tangent(
    y: jax.Array,
    action: Action,
    matrix: np.ndarray,
    group: FiniteGroup | None,
    spacing: tuple[float, float],
) -> jax.Array:
    """Return ``d/dt rho(exp(tX)) y`` at t = 0, in the shape and dtype of ``y``.

    Args:
        y: the array.
        action: how it moves, as `find_smooth_action` returns it.
        matrix: the generator, in pixels of the input.
        group: the group of orientations, if there are any.
        spacing: the distance of pixels of ``y`` along rows and columns, in pixels of the input.
    """
    moved = jnp.zeros_like(y)
    if has_space(y, action):
        steps = np.array(spacing)
        linear = matrix[:, :2] * steps / steps[:, None]
        own = np.concatenate([linear, matrix[:, 2:] / steps[:, None]], axis=1)
        moved = advect(y, own, channel_axes=2 if action == "feature_map" else 1)
    if isinstance(action, Fields):
        return moved + turn_vectors(y, matrix, action)
    if action in ("feature_map", "orientations"):
        return moved + turn_orientations(y, matrix, group)
    return moved


def find_spacing(spacing: Any, before: Sequence[int], after: Sequence[int]) -> tuple[float, float]:
    """Return the distance of pixels along rows and columns, as `lie_derivative` describes it.

    Args:
        spacing: what the user gave, or None.
        before, after: the sizes of the input and of the output, of two axes.

    >>> from gconv_jax.lattice.lie_derivative import find_spacing
    >>> find_spacing(None, (28, 28), (14, 14)), find_spacing(None, (28, 28), (24, 24))
    ((2.0, 2.0), (1.0, 1.0))
    """
    if spacing is None:
        rows, columns = (_ratio(n, m) for n, m in zip(before, after, strict=True))
        return rows, columns
    steps = np.asarray(spacing)
    if steps.shape not in ((), (2,)) or steps.dtype.kind not in "iuf" or not (steps > 0).all():
        raise ValueError(f"`spacing` must be a positive number or two of them, got {spacing!r}")
    rows, columns = np.broadcast_to(steps.astype(np.float64), 2).tolist()
    return rows, columns


def _ratio(before: int, after: int) -> float:
    large, small = max(before, after), min(before, after)
    # Layers without padding return less than the share of their stride.
    ratio = large / small if large % small == 0 else 2.0 ** round(math.log2(large / small))
    return ratio if before >= after else 1 / ratio


def _require_floating(y: Any) -> None:
    leaves = jax.tree.leaves(y, is_leaf=lambda leaf: isinstance(leaf, IrrepFeatures))
    for leaf in leaves or [None]:
        floating = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)
        if not floating or isinstance(leaf, IrrepFeatures):
            found = f"{leaf.dtype} in a {type(leaf).__name__}" if hasattr(leaf, "dtype") else leaf
            raise TypeError(
                f"`f` must return an array of floating numbers or a tree of them, got {found}; "
                "pass a function that selects what is to be measured"
            )
