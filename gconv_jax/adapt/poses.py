"""A function of images in all poses of a group, and its results, moved back."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.groups.irrep_features import IrrepFeatures
from gconv_jax.lattice.actions import Act, TreeAct, as_arrays, find_tree_action, leaves_of
from gconv_jax.lattice.element_move import ElementMove


def find_input_action(action: Any, x: Any, group: FiniteGroup) -> TreeAct:
    """Return the action on the input; ValueError if it does not depend on the element."""
    act = find_tree_action(action, x, group, "input")
    if group.order > 1 and all(one.action == "invariant" for one in act.acts):
        raise ValueError(
            f"`x` must be a batch of images [N, *spatial, C], or a tree with one, got shape "
            f"{_first_shape(x)}, which {group!r} does not move"
        )
    return act


def moved_to_poses(
    x: Any, act: TreeAct, group: FiniteGroup, fill: jax.Array | float = 0.0
) -> list[Any]:
    """Return ``L_g^-1 x`` for every element g, in the order of the group.

    ValueError if the sides of an image are exchanged and of different lengths.
    """
    posed = [act(x, ElementMove(group, g, fill).inverse) for g in group.elements]
    shapes = [jax.tree.map(jnp.shape, pose) for pose in posed]
    for g, found in enumerate(shapes):
        if found != shapes[0]:
            inverse = group.element_name(int(group.inverse[g]))
            raise ValueError(
                f"`x` must have equal sides, since {inverse} of {group!r} exchanges them, got "
                f"shape {_first_shape(x)}: pad or crop the images"
            )
    return posed


def results_in_all_poses(
    f: Callable[..., Any],
    x: Any,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    *,
    group: FiniteGroup,
    input_action: Any,
    output_action: Any,
    sequential: bool,
    fill: jax.Array | float,
) -> tuple[list[Any], TreeAct]:
    """Return ``L_g f(L_g^-1 x)`` for every element g, and the action on the results.

    ``f`` is called once, on a batch that is |G| times as large, or with ``sequential`` |G| times
    in a loop. ValueError if it returns arrays whose first axis is not that of the batch.
    """
    x = as_arrays(x)
    count = batch_size(x)
    posed = moved_to_poses(x, find_input_action(input_action, x, group), group, fill)
    if sequential:
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *posed)
        y = jax.lax.map(lambda pose: f(pose, *args, **kwargs), stacked)
    else:
        merged = jax.tree.map(lambda *parts: jnp.concatenate(parts), *posed)
        y = as_arrays(f(merged, *args, **kwargs))
        for leaf in require_leaves(y):
            if jnp.ndim(leaf) == 0 or len(leaf) != group.order * count:
                raise ValueError(
                    f"`f` must return arrays with one entry for each of the {group.order * count} "
                    f"images that it was given, got shape {jnp.shape(leaf)}; with sequential=True "
                    "it is given one pose at a time"
                )
        y = jax.tree.map(lambda leaf: leaf.reshape(group.order, count, *leaf.shape[1:]), y)
    results = [jax.tree.map(lambda leaf, g=g: leaf[g], y) for g in group.elements]
    act = find_tree_action(output_action, results[0], group, "output")
    back = [act(part, ElementMove(group, g, fill)) for g, part in enumerate(results)]
    for part in back[1:]:
        require_same_shapes(back[0], part)
    return back, act


def require_leaves(y: Any, count: int | None = None) -> list[jax.Array]:
    """Return the arrays of a result; ValueError if there are none, or not of ``count`` images."""
    leaves = jax.tree.leaves(y)
    wrong = [jnp.shape(a) for a in leaves if count is not None and jnp.shape(a)[:1] != (count,)]
    if wrong or not leaves:
        found = f"shape {wrong[0]}" if wrong else repr(y)
        raise ValueError(
            f"`f` must return arrays with one entry for each of the {count or 'given'} images, got "
            f"{found}"
        )
    return leaves


def require_same_shapes(y: Any, moved: Any) -> None:
    """Raise ValueError if the results of two poses have other shapes once they are moved back."""
    if jax.tree.map(jnp.shape, y) != jax.tree.map(jnp.shape, moved):
        raise ValueError(
            f"`f` returns {_first_shape(y)}, which is taken for images of unequal sides that moves "
            "exchange; if it is none, pass `output_action`"
        )


def batch_size(x: Any) -> int:
    """Return the length of the first axis of all arrays of a tree; ValueError if they differ."""
    sizes = {a.shape[0] if a.ndim else None for a in leaves_of(x).values()}
    if len(sizes) != 1 or None in sizes:
        raise ValueError(
            f"`x` must be a batch of images [N, *spatial, C], or a tree of arrays with one batch "
            f"axis, got shape {_first_shape(x)}"
        )
    return int(sizes.pop())  # pyright: ignore[reportArgumentType]


def _first_shape(x: Any) -> Any:
    shapes = [a.shape for a in leaves_of(x).values()]
    return shapes[0] if len(shapes) == 1 else shapes


def move_each(
    act: TreeAct,
    tree: Any,
    elements: jax.Array,
    group: FiniteGroup,
    fill: jax.Array | float,
    *,
    inverse: bool = False,
) -> Any:
    """Return the arrays of a tree, each example moved by its own element, or by its inverse."""

    def move(element: Any) -> ElementMove:
        direct = ElementMove(group, element, fill)
        return direct.inverse if inverse else direct

    def move_array(one: Act, array: Any) -> Any:
        if callable(one.action):  # a user's function of a batch and an index
            choices = jnp.stack([one(array, move(g)) for g in group.elements])
            return choices[elements, jnp.arange(len(elements))]
        return jax.vmap(lambda y, g: one(y, move(g)))(array, elements)

    arrays, structure = jax.tree.flatten(tree, is_leaf=lambda a: isinstance(a, IrrepFeatures))
    moved = [move_array(one, array) for one, array in zip(act.acts, arrays, strict=True)]
    return jax.tree.unflatten(structure, moved)
