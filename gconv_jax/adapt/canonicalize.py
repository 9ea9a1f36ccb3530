"""Canonicalization: a small network chooses the pose in which a function sees each image."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gconv_jax.adapt.poses import (
    batch_size,
    find_input_action,
    move_each,
    moved_to_poses,
    require_leaves,
    require_same_shapes,
    results_in_all_poses,
)
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.actions import as_arrays, find_tree_action
from gconv_jax.lattice.element_move import ElementMove
from gconv_jax.ops.accumulation import accumulation_dtype

Choice = Literal["straight-through", "weighted", "argmax"]


def canonicalize(
    f: Callable[..., Any],
    *,
    group: FiniteGroup,
    by: Callable[[Any], jax.Array],
    input_action: Any = None,
    output_action: Any = None,
    choice: Choice = "straight-through",
    temperature: jax.Array | float = 1.0,
    fill: jax.Array | float = 0.0,
) -> Callable[..., Any]:
    """Make any function of images equivariant: it sees each of them in one pose that is chosen.

    ``F(x) = L_h f(L_h^-1 x)``, where h is the element with the largest score ``by(x)[h]``. If the
    scores turn with the image, ``by(L_g x)[h] = by(x)[g^-1 h]``, then so does h, and F obeys
    ``F(L_g x) = L_g F(x)`` whatever ``f`` is (Kaba et al. 2022, arXiv:2211.06489; for networks that
    were trained before, Mondal et al. 2023, arXiv:2305.12454). ``f`` is evaluated once.

    Where several scores are equal, as those of an image that is itself symmetric, the first of the
    best is taken. Outputs that the action moves then keep the law up to that symmetry.

    Args:
        f: a function of a batch of images and further arguments, as in `symmetrize`. Integers reach
            it as float32.
        group: the symmetry. For elements that do not map pixels onto pixels images are turned with
            bilinear interpolation, and the law holds approximately.
        by: a function of the batch to scores ``[N, |G|]`` that turn with the image: an equivariant
            network whose result has one channel for each element, averaged over space, or
            `score_poses` of any small network.
        input_action, output_action: as in `symmetrize`.
        choice: ``straight-through``: the pose is that of the largest score, and the scores have the
            gradients of the sum weighed by ``softmax(scores / temperature)``. ``weighted``: that
            sum itself, over |G| evaluations of ``f``, which is smooth and equivariant too.
            ``argmax``: as the first, without gradients for the scores, and with one move of the
            image in place of |G|; take it after training.
        temperature: the temperature of the softmax, which may be traced.
        fill: the value outside the image where it is interpolated, as in `rotate`.

    Returns:
        A function with the arguments of ``f``.

    Raises:
        ValueError: the scores have another shape, or as in `symmetrize`.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, canonicalize, score_poses
    >>> from gconv_jax.testing import assert_equivariant
    >>> x = jnp.arange(2 * 5 * 5.0).reshape(2, 5, 5, 1)
    >>> left = lambda x: x[:, :, :2].sum((1, 2))
    >>> up = score_poses(lambda x: x[:, 0].sum((1, 2)), group=P4)  # the brightest border up
    >>> assert_equivariant(canonicalize(left, group=P4, by=up), x, group=P4)
    """
    check_group(group)
    for name, function in (("f", f), ("by", by)):
        if not callable(function):
            kind = type(function).__name__
            raise TypeError(f"`{name}` must be a function of images, got {function!r} of {kind}")
    if isinstance(temperature, int | float) and not temperature > 0:
        raise ValueError(f"`temperature` must be positive, got {temperature}")
    if choice not in ("straight-through", "weighted", "argmax"):
        raise ValueError(f"`choice` must be straight-through, weighted or argmax, got {choice!r}")

    def canonicalized(x: Any, /, *args: Any, **kwargs: Any) -> Any:
        x = as_arrays(x)
        act = find_input_action(input_action, x, group)
        x = jax.tree.map(_as_floating, x)  # what f is given does not depend on the choice
        scores = _check_scores(by(x), group, batch_size(x))
        best = jnp.argmax(scores, -1)
        soft = jax.nn.softmax(scores.astype(accumulation_dtype(scores.dtype)) / temperature)
        if choice == "weighted":
            results, _ = results_in_all_poses(
                f,
                x,
                args,
                kwargs,
                group=group,
                input_action=input_action,
                output_action=output_action,
                sequential=False,
                fill=fill,
            )
            return _weigh(soft, results)
        posed = move_each(act, x, best, group, fill, inverse=True)
        # Zeros with the gradients of the scores.
        nothing = None if choice == "argmax" else soft - jax.lax.stop_gradient(soft)
        if nothing is not None:
            posed = _add(posed, nothing, moved_to_poses(x, act, group, fill))
        y = as_arrays(f(posed, *args, **kwargs))
        require_leaves(y, batch_size(x))
        act = find_tree_action(output_action, y, group, "output")
        moved = move_each(act, y, best, group, fill)
        require_same_shapes(y, moved)
        if nothing is None or all(one.action == "invariant" for one in act.acts):
            return moved
        return _add(moved, nothing, [act(y, ElementMove(group, g, fill)) for g in group.elements])

    canonicalized.__name__ = f"canonicalize({getattr(f, '__name__', type(f).__name__)})"
    return canonicalized


def score_poses(
    score: Callable[[Any], jax.Array],
    *,
    group: FiniteGroup,
    input_action: Any = None,
    sequential: bool = False,
    fill: jax.Array | float = 0.0,
) -> Callable[[Any], jax.Array]:
    """Make scores of poses that turn with the image, of any function that scores an image.

    ``by(x)[h] = score(L_h^-1 x)``: the score of h is high if the image looks right once h is
    undone. It obeys ``by(L_g x)[h] = by(x)[g^-1 h]`` whatever ``score`` is, and needs |G|
    evaluations of it. For `canonicalize`.

    Args:
        score: a function of a batch of images to numbers ``[N]`` or ``[N, 1]``.
        group, input_action, sequential, fill: as in `symmetrize`.

    Returns:
        A function of the batch to ``[N, |G|]``.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, score_poses
    >>> x = jnp.zeros((1, 3, 3, 1)).at[0, 0, 1].set(1.0)  # a dot above the center
    >>> up = score_poses(lambda x: x[:, 0].sum((1, 2)), group=P4)
    >>> up(x), up(jnp.rot90(x, axes=(1, 2)))
    (Array([[1., 0., 0., 0.]], dtype=float32), Array([[0., 1., 0., 0.]], dtype=float32))
    """
    check_group(group)
    if not callable(score):
        raise TypeError(f"`score` must be a function of images, got {score!r}")

    def one_for_each(x: Any) -> jax.Array:
        values = jnp.asarray(score(x))
        if values.ndim not in (1, 2) or values.size != batch_size(x):
            raise ValueError(
                f"`score` must return one number for each of {batch_size(x)} images, [N] or "
                f"[N, 1], got shape {values.shape}"
            )
        return values.reshape(-1)

    def scores(x: Any) -> jax.Array:
        results, _ = results_in_all_poses(
            one_for_each,
            x,
            (),
            {},
            group=group,
            input_action=input_action,
            output_action="invariant",
            sequential=sequential,
            fill=fill,
        )
        return jnp.stack(results, -1)

    return scores


def pose_prior(scores: jax.Array, *, element: jax.Array | int = 0) -> jax.Array:
    """Return the loss that makes the pose of the training images the one that is chosen.

    ``-mean_n log softmax(scores[n])[element]``: the divergence from the prior that images of the
    training set are upright already (Mondal et al. 2023, arXiv:2305.12454). Add it to the loss of
    `canonicalize`, so that a network trained before sees turned images as it saw those.

    For elements that interpolate, turn the training images at random and pass the elements by which
    they were turned. Otherwise a network may learn that the upright image is the sharp one.

    Args:
        scores: ``[N, |G|]``, the result of ``by``.
        element: the index of the pose of the training images, by default the identity, or ``[N]``,
            one for each of them.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import pose_prior
    >>> round(float(pose_prior(jnp.zeros((3, 4)))), 4)  # the logarithm of 4
    1.3863
    """
    scores, known = jnp.asarray(scores), not isinstance(element, Tracer)
    inside = scores.ndim == 2 and (
        not known or ((np.asarray(element) >= 0) & (np.asarray(element) < scores.shape[1])).all()
    )
    if not inside:
        raise ValueError(
            f"`scores` must be [N, |G|] with an entry for `element` {element}, got shape "
            f"{scores.shape}"
        )
    elements = jnp.asarray(element)
    if elements.shape not in ((), scores.shape[:1]) or elements.dtype.kind not in "iu":
        raise ValueError(
            f"`element` must be an index, or integers [N={len(scores)}], got {elements.dtype} of "
            f"shape {elements.shape}"
        )
    logs = jax.nn.log_softmax(scores.astype(accumulation_dtype(scores.dtype)))
    return -logs[jnp.arange(len(scores)), elements].mean()


def _as_floating(x: jax.Array) -> jax.Array:
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.float32)


def _check_scores(scores: Any, group: FiniteGroup, count: int) -> jax.Array:
    shape = jnp.shape(scores)
    if shape != (count, group.order):
        raise ValueError(
            f"`by` must return scores [N={count}, |G|={group.order}] for {group!r}, got shape "
            f"{shape}"
        )
    scores = jnp.asarray(scores)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ValueError(f"`by` must return floating scores, got {scores.dtype}")
    return scores


def _add(value: Any, weights: jax.Array, parts: list[Any]) -> Any:
    """Return arrays of a tree, plus the sums of parts by weights that are zero and have gradients.

    A part that is infinite has none.
    """
    finite = [
        jax.tree.map(lambda a: jnp.where(jnp.isfinite(a), a, jnp.zeros_like(a)), part)
        for part in parts
    ]
    return jax.tree.map(
        lambda a, b: a + b.astype(a.dtype) if jnp.issubdtype(a.dtype, jnp.inexact) else a,
        value,
        _weigh(weights, finite),
    )


def _weigh(weights: jax.Array, parts: list[Any]) -> Any:
    """Return ``sum_g weights[n, g] parts[g][n]`` for each array of a tree, in its dtype."""

    def combine(*arrays: jax.Array) -> jax.Array:
        kept = arrays[0].dtype
        floating = kept if jnp.issubdtype(kept, jnp.inexact) else jnp.dtype(jnp.float32)
        wide = jnp.promote_types(accumulation_dtype(floating), weights.dtype)
        each = [
            weights[:, g].astype(wide).reshape(-1, *(a.ndim - 1) * [1]) * a.astype(wide)
            for g, a in enumerate(arrays)
        ]
        return functools.reduce(jnp.add, each).astype(floating)

    return jax.tree.map(combine, *parts)
