"""How the elements of a group act on the arrays that a model is given and returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.groups.fields import Fields, check_fields
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.groups.irrep_features import IrrepFeatures, from_irreps, to_irreps

Action = str | Fields | Callable[[jax.Array, int], jax.Array]
ACTIONS = ("image", "feature_map", "orientations", "invariant")


class Move(Protocol):
    """A rotation or reflection of arrays, such as `gconv_jax.lattice.element_move.ElementMove`."""

    @property
    def group(self) -> FiniteGroup: ...

    @property
    def element(self) -> Any:
        """The index of the element; None if it is none of the group."""
        ...

    def image(self, x: jax.Array) -> jax.Array:
        """Return an image ``[..., *spatial, C]``, moved."""
        ...

    def feature_map(self, x: jax.Array) -> jax.Array:
        """Return a feature map ``[..., *spatial, |G|, C]``, moved."""
        ...

    def permute(self, x: jax.Array) -> jax.Array:
        """Return ``[..., |G|, C]`` with its orientations permuted."""
        ...

    def turn(self, x: jax.Array, fields: Fields) -> jax.Array:
        """Return ``[..., C]`` with the vectors turned, at the same places."""
        ...


@dataclass(frozen=True)
class Act:
    """The action of moves on arrays of one kind."""

    action: Action
    has_space: bool = True
    """The arrays have pixels, which logits that are `Fields` do not have."""

    def __call__(self, y: Any, move: Move) -> Any:
        if isinstance(y, IrrepFeatures):
            return to_irreps(self(from_irreps(y), move), group=y.group)
        if callable(self.action):
            if move.element is None:
                raise ValueError("`input_action` cannot be a function of elements with `angles`")
            return self.action(y, move.element)
        if isinstance(self.action, Fields):
            return move.turn(move.image(y) if self.has_space else y, self.action)
        if self.action == "invariant":
            return y
        if self.action == "orientations":
            return move.permute(y)
        if self.action.startswith("merged"):
            split = y.reshape(*y.shape[:-1], move.group.order, -1)
            turned = move.permute if self.action == "merged_invariant" else move.feature_map
            moved = turned(split)
            return moved.reshape(*moved.shape[:-2], -1)
        return move.image(y) if self.action == "image" else move.feature_map(y)

    @property
    def channel_axes(self) -> int | None:
        """The number of axes after space; None if there is no space."""
        axes = {"image": 1, "merged_map": 1, "feature_map": 2}
        if isinstance(self.action, Fields):
            return 1 if self.has_space else None
        return None if callable(self.action) else axes.get(self.action)


def find_action(action: Action | None, x: jax.Array, group: FiniteGroup, what: str) -> Act:
    """Return the action of moves on ``x``, as it is given, or read off its shape."""
    check_group(group)
    rank = group.dimension
    if action is None:
        if x.ndim <= 2:
            action = "invariant"
        elif x.ndim == rank + 2:
            action = "image"
        elif x.ndim == rank + 3 and x.shape[-2] == group.order:
            action = "feature_map"
        else:
            raise ValueError(
                f"cannot read off the shape {x.shape} of the {what} how {group!r} acts on it; pass "
                f"`{what}_action`: one of {', '.join(ACTIONS)} or a function (array, element)"
            )
    if isinstance(action, Fields):
        if x.ndim not in (1, 2, rank + 2):
            raise ValueError(
                f"`{what}_action` must not be a Fields for an array of shape {x.shape}: it is "
                f"neither an image of {rank} dimensions nor logits"
            )
        check_fields(action, group, x.shape[-1], f"channels of the {what}")
        return Act(action, has_space=x.ndim > 2)
    if not callable(action) and action not in ACTIONS:
        raise ValueError(
            f"`{what}_action` must be one of {', '.join(ACTIONS)}, a Fields or a function (array, "
            f"element), got {action!r}"
        )
    return Act(action)


@dataclass(frozen=True)
class TreeAct:
    """The actions of moves on the arrays of a tree."""

    acts: tuple[Act, ...]
    """An action for each of the `leaves_of` the tree."""

    def __call__(self, tree: Any, move: Move) -> Any:
        leaves, structure = jax.tree.flatten(tree, is_leaf=_is_irreps)
        moved = [act(leaf, move) for act, leaf in zip(self.acts, leaves, strict=True)]
        return jax.tree.unflatten(structure, moved)


def leaves_of(tree: Any) -> dict[str, jax.Array]:
    """Return the arrays of a tree by their paths; `IrrepFeatures` as features ``[..., |G|, C]``.

    The path of an array that is the whole tree is empty.
    """
    return {
        jax.tree_util.keystr(path): from_irreps(leaf) if _is_irreps(leaf) else leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_irreps)
    }


def find_tree_action(action: Any, tree: Any, group: FiniteGroup, what: str) -> TreeAct:
    """Return the actions on all arrays of a tree.

    Args:
        action: an action for all arrays, None to read them off the shapes, or a tree of these with
            the structure of the first levels of ``tree``.
        tree: arrays and `IrrepFeatures`.
        group, what: as in `find_action`.

    Raises:
        ValueError: as in `find_action`, or the structures do not fit.
    """
    arrays = list(leaves_of(tree).values())
    if _is_action(action):
        actions = len(arrays) * [action]
    else:
        actions = []
        try:
            jax.tree.map(
                lambda a, part: actions.extend(len(leaves_of(part)) * [a]),
                action,
                tree,
                is_leaf=_is_action,
            )
        except ValueError as error:
            raise ValueError(
                f"`{what}_action` must be one action, or have the structure of the {what}, "
                f"{jax.tree.structure(tree, is_leaf=_is_irreps)}, got {action!r}"
            ) from error
    return TreeAct(
        tuple(find_action(a, x, group, what) for a, x in zip(actions, arrays, strict=True))
    )


def as_arrays(tree: Any) -> Any:
    """Return a tree whose numbers and NumPy arrays are JAX arrays."""
    return jax.tree.map(jnp.asarray, tree)


def is_array(y: Any) -> bool:
    """Return whether a leaf of a tree can be compared."""
    return isinstance(y, jax.Array | np.ndarray | IrrepFeatures)


def _is_irreps(x: Any) -> bool:
    return isinstance(x, IrrepFeatures)


def _is_action(action: Any) -> bool:
    return action is None or isinstance(action, str | Fields) or callable(action)


def possible_actions(
    y: jax.Array, group: FiniteGroup, *, is_output: bool, fields: Sequence[Fields] = ()
) -> list[Act]:
    """Return the actions that the shape of ``y`` allows.

    Inside a model, the channels of an image or of logits may also be orientations and channels that
    were merged, or the ``fields`` of its input or of its result.
    """
    try:
        found = [find_action(None, y, group, "result")]
    except ValueError:
        return []
    if not is_output and found[0].action in ("image", "invariant"):
        found += [Act(f, y.ndim > 2) for f in fields if f.channels(group) == y.shape[-1]]
    mergeable = not is_output and group.order > 1 and (found[0].action == "image" or y.ndim == 2)
    if mergeable and y.shape[-1] % group.order == 0:
        found.append(Act("merged_map" if y.ndim > 2 else "merged_invariant"))
    return found
