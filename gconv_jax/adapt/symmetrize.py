"""The symmetrization of any function of images: its mean over the poses of its input."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from gconv_jax.adapt.poses import results_in_all_poses
from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import IrrepFeatures
from gconv_jax.lattice.actions import TreeAct
from gconv_jax.ops.accumulation import accumulation_dtype

Reduce = Literal["mean", "max"]


def symmetrize(
    f: Callable[..., Any],
    *,
    group: FiniteGroup,
    input_action: Any = None,
    output_action: Any = None,
    reduce: Reduce = "mean",
    sequential: bool = False,
    fill: jax.Array | float = 0.0,
) -> Callable[..., Any]:
    """Make any function of images equivariant: it is evaluated in every pose, and averaged.

    The result is the function ``F(x) = 1/|G| sum_g L_g f(L_g^-1 x)``, with the actions of g on the
    input and the output (the Reynolds operator). It obeys ``F(L_g x) = L_g F(x)`` exactly where g
    maps pixels onto pixels, whatever ``f`` is: a Flax model, a network of another library, or a
    program that was exported. It is what is also called test-time augmentation, over all elements.
    It costs |G| evaluations of ``f``, in training too. A G-CNN that computes the same from a plain
    one, and learns on from there, is `start_from`.

    Args:
        f: a function of a batch of images ``[N, *spatial, C]`` (or a tree of arrays, as in
            `gconv_jax.testing.assert_equivariant`) and further arguments, which are passed on as
            they are: what belongs to an image is part of the tree. Its results must have one entry
            for each image. It is called once on ``|G| N`` images, so that batch statistics in
            training are those of all poses.
        group: the symmetry. For elements that do not map pixels onto pixels images are turned with
            bilinear interpolation, and the law holds approximately.
        input_action, output_action: the action of g on input and output: ``"image"``,
            ``"feature_map"``, ``"orientations"``, ``"invariant"``, a `gconv_jax.Fields`, a function
            ``(array, element) -> array``, or a tree of these. By default it is read off the shape,
            as in `gconv_jax.testing.assert_equivariant`: ``[N, C]``, such as logits, is invariant.
        reduce: ``mean``, or ``max`` for the largest value of each number.
        sequential: call ``f`` for one pose after another, which needs |G| times less memory in
            evaluation. ``f`` must not change any state, as batch normalization does in training.
        fill: the value outside the image where it is interpolated, as in `rotate`.

    Returns:
        A function with the arguments of ``f``.

    Raises:
        ValueError: the sides of the images differ and an element exchanges them, ``f`` returns
            something else than one entry for each image, or ``reduce="max"`` is asked of vectors,
            whose components are mixed by the action.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4M, symmetrize
    >>> from gconv_jax.testing import assert_equivariant
    >>> x = jnp.arange(2 * 5 * 5.0).reshape(2, 5, 5, 1)
    >>> left = lambda x: x[:, :, :2].sum((1, 2))  # depends on the pose
    >>> assert_equivariant(symmetrize(left, group=P4M), x, group=P4M)
    """
    check_group(group)
    if not callable(f):
        raise TypeError(f"`f` must be a function of images, got {f!r} of type {type(f).__name__}")
    if reduce not in ("mean", "max"):
        raise ValueError(f"`reduce` must be mean or max, got {reduce!r}")

    def symmetrized(x: Any, /, *args: Any, **kwargs: Any) -> Any:
        results, act = results_in_all_poses(
            f,
            x,
            args,
            kwargs,
            group=group,
            input_action=input_action,
            output_action=output_action,
            sequential=sequential,
            fill=fill,
        )
        if reduce == "max":
            _require_permutations(act, results[0])
            return jax.tree.map(lambda *parts: functools.reduce(jnp.maximum, parts), *results)
        return jax.tree.map(lambda *parts: _mean(parts), *results)

    symmetrized.__name__ = f"symmetrize({getattr(f, '__name__', type(f).__name__)})"
    return symmetrized


def _mean(parts: tuple[jax.Array, ...]) -> jax.Array:
    """Return the mean of arrays in their dtype, or in float32 if they are integers."""
    kept = parts[0].dtype if jnp.issubdtype(parts[0].dtype, jnp.inexact) else jnp.float32
    total = functools.reduce(jnp.add, [part.astype(accumulation_dtype(kept)) for part in parts])
    return (total / len(parts)).astype(kept)


def _require_permutations(act: TreeAct, result: Any) -> None:
    irreps = jax.tree.leaves(result, is_leaf=lambda a: isinstance(a, IrrepFeatures))
    if any(isinstance(a, IrrepFeatures) for a in irreps):
        raise ValueError(
            '`reduce` must be "mean" for IrrepFeatures, whose numbers the action mixes, got max'
        )
    for one in act.acts:
        if isinstance(one.action, Fields) or callable(one.action):
            raise ValueError(
                '`reduce` must be "mean" for an output whose numbers the action mixes, such as '
                f"vectors, got max for {one.action!r}"
            )
