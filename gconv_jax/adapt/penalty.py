"""Soft equivariance: the deviation from the law as a term of a loss."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gconv_jax.adapt.poses import batch_size, find_input_action, move_each, require_leaves
from gconv_jax.groups.finite import FiniteGroup, check_group
from gconv_jax.lattice.actions import TreeAct, as_arrays, find_tree_action, possible_actions
from gconv_jax.lattice.element_move import ElementMove
from gconv_jax.ops.accumulation import accumulation_dtype


def equivariance_penalty(
    f: Callable[..., Any],
    x: Any,
    *args: Any,
    group: FiniteGroup,
    key: jax.Array,
    y: Any = None,
    input_action: Any = None,
    output_action: Any = None,
    fill: jax.Array | float = 0.0,
    **kwargs: Any,
) -> jax.Array:
    """Return the mean squared deviation of a function from the law, for random elements.

    It is the mean of ``|f(L_g x) - L_g f(x)|^2`` over images and the numbers of an output, where g
    is drawn anew for each image from all elements of the group. Its expectation is 0 if and only if
    ``f`` obeys the law on these images. Multiplied by a coefficient and added to a loss it makes a
    network equivariant as far as the data allow.

    It costs one more evaluation of ``f``, forward and backward, with ``y``, and two without. The
    first images of a batch are enough for an estimate, ``x[:8]`` with ``y[:8]``, unless the results
    depend on the batch, as with batch normalization in training.

    A module with dropout draws other masks each time, and batch normalization in training updates
    its statistics: with ``y`` of one module pass a copy of it as ``f`` that was made before
    (``nnx.clone``), so that masks are the same and the copy's statistics are lost.

    Args:
        f: a function of a batch of images, or a tree of arrays, and of ``args`` and ``kwargs``.
        x: the batch ``[N, *spatial, C]``; the sides of images must be equal if the group exchanges
            them.
        group: the symmetry.
        key: a random key, or one for each image (``jax.random.split``), as devices need that share
            a batch.
        y: ``f(x)``, if it is known.
        input_action, output_action, fill: as in `symmetrize`.

    Returns:
        A scalar, at least float32. If ``f`` returns a tree, the sum over its arrays.

    >>> import jax, jax.numpy as jnp
    >>> from gconv_jax import P4, equivariance_penalty
    >>> x = jnp.arange(50.0).reshape(2, 5, 5, 1)
    >>> key = jax.random.key(0)
    >>> float(equivariance_penalty(lambda x: x.mean((1, 2)), x, group=P4, key=key))
    0.0
    """
    check_group(group)
    x = as_arrays(x)
    act_in = find_input_action(input_action, x, group)
    if group.is_hexagonal:
        x = act_in(x, ElementMove(group, 0, fill))  # without what lies outside the hexagon
    y = as_arrays(f(x, *args, **kwargs) if y is None else y)
    require_leaves(y, batch_size(x))
    act_out = find_tree_action(output_action, y, group, "output")
    elements = draw_elements(key, batch_size(x), group)
    turned = as_arrays(f(move_each(act_in, x, elements, group, fill), *args, **kwargs))
    if jax.tree.structure(turned) != jax.tree.structure(y):
        raise ValueError(f"`y` must have the structure that `f` returns, got {type(y).__name__}")
    expected = move_each(act_out, y, elements, group, fill)
    squares = [
        _mean_square(a, b)
        for a, b in zip(jax.tree.leaves(turned), jax.tree.leaves(expected), strict=True)
    ]
    return sum(squares[1:], squares[0])


def layer_penalties(
    model: Callable[..., Any],
    x: Any,
    *,
    group: FiniteGroup,
    key: jax.Array,
    input_action: Any = None,
    fill: jax.Array | float = 0.0,
    **kwargs: Any,
) -> dict[str, jax.Array]:
    """Return the deviation from the law of each layer of a Flax model, for random elements.

    Each is `equivariance_penalty` of what the layer returns while the whole model runs, divided by
    the mean square of it, so that layers can be compared and summed. How an element acts is read
    off the shape: as a feature map, as an image whose channels do not mix, or as invariant. Layers
    whose shape says nothing, or that the moves change, are left out. It is differentiable.

    Args:
        model: an NNX module or a bound Linen module. An NNX module is left as it is: both runs are
            those of a copy, with the same masks of dropout.
        x, group, key, input_action, fill: as in `equivariance_penalty`.
        **kwargs: keywords of the model.

    Returns:
        A scalar for each layer by its path, in the order in which layers return, and ``output``.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4, layer_penalties
    >>> model = nnx.Sequential(nnx.Conv(1, 3, (3, 3), rngs=nnx.Rngs(0)), nnx.relu)
    >>> x = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    >>> list(layer_penalties(model, x, group=P4, key=jax.random.key(1)))
    ['layers.0', 'output']
    """
    check_group(group)
    x = as_arrays(x)
    act_in = find_input_action(input_action, x, group)
    elements = draw_elements(key, batch_size(x), group)
    before = _outputs(model, x, kwargs)
    after = _outputs(model, move_each(act_in, x, elements, group, fill), kwargs)
    found = {}
    for path, y in before.items():
        actions = possible_actions(y, group, is_output=path == "output")
        turned = after.get(path)
        if turned is None or not actions or turned.shape != y.shape or len(y) != len(elements):
            continue
        try:
            expected = move_each(TreeAct((actions[0],)), y, elements, group, fill)
        except ValueError:  # an array of unequal sides, which is no image
            continue
        size = jnp.square(y.astype(accumulation_dtype(y.dtype))).mean()
        # A layer that returns zeros breaks no law.
        found[path] = _mean_square(turned, expected) / jnp.where(size > 0, size, 1)
    return found


def draw_elements(key: jax.Array, count: int, group: FiniteGroup) -> jax.Array:
    """Return a random element for each image, from one key or from a key for each."""
    key, typed = jnp.asarray(key), jnp.issubdtype(jnp.asarray(key).dtype, jax.dtypes.prng_key)
    if key.ndim == (0 if typed else 1):
        return jax.random.randint(key, (count,), 0, group.order)
    if key.shape[0] != count or key.ndim != (1 if typed else 2):
        raise ValueError(
            f"`key` must be a random key, or one for each of {count} images, got shape {key.shape}"
        )
    return jax.vmap(lambda key: jax.random.randint(key, (), 0, group.order))(key)


def _outputs(model: Callable[..., Any], x: Any, kwargs: dict[str, Any]) -> dict[str, jax.Array]:
    """Return the floating arrays that the layers and the model return, the first of each layer."""
    from flax import nnx  # not at the top, since the functions of this library do without Flax
    from flax.nnx.tracers import TraceState

    from gconv_jax.layer_outputs import capture_layer_outputs

    found: dict[str, jax.Array] = {}
    model = nnx.clone(model) if isinstance(model, nnx.Module) else model
    outside = TraceState()  # values of programs inside the model exist nowhere else

    def keep(path: str, layer: Any, y: Any) -> None:
        if (
            outside.is_valid()
            and isinstance(y, jax.Array)
            and y.ndim
            and jnp.issubdtype(y.dtype, jnp.floating)
        ):
            found.setdefault(path, y)

    with capture_layer_outputs(model, keep):
        y = model(x, **kwargs)
    keep("output", model, y)
    return found


def _mean_square(a: jax.Array, b: jax.Array) -> jax.Array:
    if a.shape != b.shape:
        raise ValueError(
            f"`output_action` must move an output {b.shape} as `f` does, which returned {a.shape} "
            "for the moved images"
        )
    wide = accumulation_dtype(jnp.result_type(a.dtype, b.dtype))
    difference = a.astype(wide) - b.astype(wide)
    return (difference * jnp.conj(difference)).real.mean()
