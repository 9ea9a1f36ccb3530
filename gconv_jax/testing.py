"""Checks of the equivariance law, for these layers and for a user's own functions and models.

The law is ``fn(L_g x) == L_g fn(x)`` for every element g of a finite group. Nothing is sampled:
all elements are tried, and a report says which one failed, in which layer, by how much.

**Tolerances.** Multiples of 90 degrees and reflections move pixels onto pixels, so the law holds to
rounding, and the default of ``rtol`` is for that. At other angles an image is known only between
its pixels, and so is what a layer makes of it: the law holds as far as everything is smooth. To
choose ``rtol_resampled``, take `smooth_images`, or your own data padded so that it vanishes outside
the disc, and compare with what benchmarks/rotation_error.py prints for two layers: about 0.03 for
feature maps with harmonic filters, 0.3 with bilinear ones, 1 where nothing is equivariant; for
their means over space 0.005, 0.02 and 0.1. Strides and many layers with ReLU come on top. An error
that does not shrink when the image is drawn twice as large is a broken law.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gconv_jax.groups import FiniteGroup, check_group
from gconv_jax.moves import Move, moves_of, smooth_images as smooth_images

Action = str | Callable[[jax.Array, int], jax.Array]
ACTIONS = ("image", "feature_map", "invariant")


def assert_equivariant(
    fn: Callable[..., jax.Array],
    x: jax.Array | np.ndarray,
    *,
    group: FiniteGroup,
    atol: float = 0.0,
    rtol: float | None = None,
    rtol_resampled: float | None = None,
    input_action: Action | None = None,
    output_action: Action | None = None,
    **kwargs,
) -> None:
    """Assert ``fn(L_g x) == L_g fn(x)`` for all elements g of ``group``.

    Args:
        fn: a function, an NNX module, or a bound Linen module. It must be deterministic. A
            module is left as it was: the statistics of one in training mode change in a copy.
        x: a batch of images ``[N, *spatial, C]`` or of feature maps ``[N, *spatial, |G|, C]``.
        group: the symmetry. Images are resampled for elements that do not map pixels onto pixels.
        atol, rtol: the largest error allowed is ``atol + rtol * max|fn(x)|``. By default ``rtol``
            is 1e-10 for float64, 1e-4 for float32, 0.05 for shorter results and 0 for integers.
        rtol_resampled: in place of ``rtol`` for elements that resample the image; sizes are then
            root mean squares over the disc that fits into the image. Must be given for groups with
            such elements: see above on how to choose it.
        input_action, output_action: how g acts there: ``"image"``, ``"feature_map"``,
            ``"invariant"``, or a function ``(array, element) -> array``. By default read off the
            shape: ``[N, *spatial, |G|, C]`` is a feature map, ``[N, *spatial, C]`` an image, and
            ``[N]`` or ``[N, C]``, such as logits, invariant.
        **kwargs: passed on to ``fn``.

    Raises:
        AssertionError: names the function, the worst element, its error and, for a Flax model,
            the first layer that breaks the law. Also if ``fn(x)`` is zero everywhere.
        ValueError: an action that cannot be read off the shape; no ``rtol_resampled`` for a group
            that needs it.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, lift_conv
    >>> from gconv_jax.testing import assert_equivariant
    >>> x = jnp.arange(2 * 9 * 9 * 3.0).reshape(2, 9, 9, 3)
    >>> w = jnp.arange(9 * 3 * 5.0).reshape(3, 3, 3, 5)
    >>> assert_equivariant(lambda x: lift_conv(x, w, group=P4), x, group=P4)
    """
    x = jnp.asarray(x)
    act_in = _action(input_action, x, group, "input")
    fn = _copy(fn)
    y = fn(x, **kwargs)
    _require_array(y, fn)
    act_out = _action(output_action, y, group, "output")
    moves = moves_of(group)
    resampled = [move.name for move in moves if not move.exact]
    if resampled and rtol_resampled is None:
        raise ValueError(
            f"`rtol_resampled` must be given for {group!r}, whose elements {', '.join(resampled)} "
            "resample the image; see gconv_jax.testing on how to choose it"
        )
    rtol = _default_rtol(y.dtype) if rtol is None else rtol
    if not np.any(np.asarray(y)):
        raise AssertionError(
            f"{_name(fn)} is zero everywhere, which keeps every law and proves none; "
            "use another `x`"
        )
    errors, allowed = [], []
    for move in moves:
        turned = fn(act_in(x, move), **kwargs)
        errors.append(move.distance(turned, act_out(y, move), act_out.channel_axes))
        relative = rtol if move.exact else rtol_resampled
        allowed.append(atol + relative * move.size(np.asarray(y), act_out.channel_axes))  # pyright: ignore[reportOptionalOperand]
    # `not <=` so that a NaN fails as well.
    failed = [g for g in group.elements if not errors[g] <= allowed[g]]
    if not failed:
        return
    worst = max(failed, key=lambda g: np.nan_to_num(errors[g] / (allowed[g] or 1), nan=np.inf))
    raise AssertionError(
        f"{_name(fn)} is not equivariant under {len(failed)} of the {group.order} elements of "
        f"{group!r}; worst is element {worst} ({group.element_name(worst)}): the "
        f"{'largest' if moves[worst].exact else 'root mean square'} error is "
        f"{errors[worst]:.3g}, allowed {allowed[worst]:.3g}"
        + _first_broken_layer(fn, x, group, input_action, (rtol, rtol_resampled), kwargs)
    )


@dataclass(frozen=True)
class EquivarianceReport:
    """Equivariance errors of a model's layers, in the order in which they finish.

    Attributes:
        group: the group.
        moves: the names of its elements, or the angles asked for.
        errors: for each layer the relative error for each of them, float64 ``[len(moves)]``; NaN
            where no action could be read off the shape of the layer's result, or where it has
            orientations and the angle is none of the group's.
    """

    group: FiniteGroup
    moves: tuple[str, ...]
    errors: dict[str, np.ndarray]

    def __str__(self) -> str:
        width = max(map(len, [*self.errors, "layer"]))
        rows = [
            [f"{e:9.1e}" if np.isfinite(e) else "        ?" for e in row]
            for row in self.errors.values()
        ]
        header = f"{'layer':{width}}" + "".join(f" {n:>9}" for n in self.moves)
        return "\n".join(
            [header]
            + [f"{k:{width}} " + " ".join(row) for k, row in zip(self.errors, rows, strict=True)]
        )


def equivariance_errors(
    model: Callable[..., jax.Array],
    x: jax.Array | np.ndarray,
    *,
    group: FiniteGroup,
    angles: Sequence[float] | None = None,
    input_action: Action | None = None,
    **kwargs,
) -> EquivarianceReport:
    """How far each layer of a Flax model is from the law, for each group element.

    For the result y of every submodule while the whole model runs,
    ``max|y(L_g x) - L_g y(x)| / max|y(x)|``, and root mean squares over the disc in place of the
    maxima where the image is resampled. Errors accumulate with depth: the first large one shows the
    layer to mend.

    Args:
        model: an NNX module or a bound Linen module (``module.bind(variables)``), which is left as
            it was; any other function gets one row, ``output``.
        x, group, input_action, kwargs: as in `assert_equivariant`.
        angles: measure at these angles, in radians, instead of at the elements of the group. Images
            and invariant results have a figure at any angle, feature maps at those of the group.

    Returns:
        An `EquivarianceReport`; print it for a table.

    >>> import jax
    >>> from flax import nnx
    >>> from gconv_jax import P4
    >>> from gconv_jax.nnx import GroupConv, LiftConv
    >>> from gconv_jax.testing import equivariance_errors
    >>> rngs = nnx.Rngs(0)
    >>> model = nnx.Sequential(LiftConv(1, 2, 3, group=P4, rngs=rngs), nnx.relu,
    ...                        GroupConv(2, 3, 3, group=P4, rngs=rngs))
    >>> report = equivariance_errors(model, jax.random.normal(rngs(), (1, 8, 8, 1)), group=P4)
    >>> list(report.errors), bool(report.errors["output"].max() < 1e-5)
    (['layers.0', 'layers.2', 'output'], True)
    """
    x = jnp.asarray(x)
    act_in = _action(input_action, x, group, "input")
    model = _copy(model)
    reference = _record(model, x, kwargs)
    moves = moves_of(group, angles)
    errors = {name: np.full(len(moves), np.nan) for name in reference}
    for i, move in enumerate(moves):
        for name, turned in _record(model, act_in(x, move), kwargs).items():
            y = reference[name]
            try:
                act = _action(None, y, group, name)
                expected = act(y, move)
            except ValueError:
                continue
            scale = move.size(np.asarray(y), act.channel_axes) or 1.0
            errors[name][i] = move.distance(turned, expected, act.channel_axes) / scale
    return EquivarianceReport(group, tuple(move.name for move in moves), errors)


@dataclass(frozen=True)
class _Act:
    """How moves act on arrays of one kind."""

    action: Action

    def __call__(self, y: jax.Array, move: Move) -> jax.Array:
        if callable(self.action):
            if move.element is None:
                raise ValueError("`input_action` cannot be a function of elements with `angles`")
            return self.action(y, move.element)
        if self.action == "invariant":
            return y
        return move.image(y) if self.action == "image" else move.feature_map(y)

    @property
    def channel_axes(self) -> int | None:
        """The axes after space, if there is space."""
        return None if callable(self.action) else {"image": 1, "feature_map": 2}.get(self.action)


def _action(action: Action | None, x: jax.Array, group: FiniteGroup, what: str) -> _Act:
    """How moves act on ``x``: as given, or read off its shape."""
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
    if not callable(action) and action not in ACTIONS:
        raise ValueError(
            f"`{what}_action` must be one of {', '.join(ACTIONS)} or a function (array, element), "
            f"got {action!r}"
        )
    return _Act(action)


def _default_rtol(dtype) -> float:
    if not jnp.issubdtype(dtype, jnp.inexact):
        return 0.0
    return {64: 1e-10, 32: 1e-4}.get(jnp.finfo(dtype).bits, 0.05)


def _require_array(y, fn) -> None:
    if not isinstance(y, jax.Array | np.ndarray):
        raise TypeError(
            f"{_name(fn)} must return one array, got {type(y).__name__}; pass a function that "
            "selects one"
        )


def _name(fn) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _first_broken_layer(fn, x, group, input_action, rtols, kwargs) -> str:
    if not _is_flax(fn):
        return ""
    report = equivariance_errors(fn, x, group=group, input_action=input_action, **kwargs)
    exact = np.array([move.exact for move in moves_of(group)])
    rounding = _default_rtol(jnp.asarray(x).dtype)  # no layer is to blame for that
    # A law that is broken on the pixels says more than one between them.
    for members, rtol in ((exact, max(rtols[0], rounding)), (~exact, rtols[1])):
        for name, row in report.errors.items():
            row = np.where(members, np.nan_to_num(row), 0)
            g = int(row.argmax())
            if members.any() and row[g] > rtol:
                return (
                    f"; the first layer that breaks the law is {name!r}, by {row[g]:.3g} of its "
                    f"size under element {g} ({group.element_name(g)})"
                )
    return ""


def _is_flax(model) -> bool:
    from flax import linen, nnx  # which load Optax

    return isinstance(model, nnx.Module | linen.Module)


def _copy(fn):
    """A copy of a module, so that what changes in training mode changes there."""
    from flax import linen, nnx  # which load Optax

    if isinstance(fn, nnx.Module):
        return nnx.clone(fn)
    if isinstance(fn, linen.Module) and fn.scope is not None and fn.scope.mutable:
        module, variables = fn.unbind()
        rngs = fn.scope.rngs  # of Flax's own type for keys, which its annotation leaves out
        return module.bind(variables, rngs=rngs, mutable=fn.scope.mutable)  # pyright: ignore[reportArgumentType]
    return fn


def _record(model, x: jax.Array, kwargs: dict) -> dict[str, jax.Array]:
    """The results of all submodule calls by path, and of the model as ``output``."""
    from gconv_jax.recording import recording

    results: dict[str, jax.Array] = {}

    def keep(name: str, layer, y) -> None:
        # Inside jit or scan there are only tracers, which have no values to compare.
        if isinstance(y, jax.Array | np.ndarray) and not isinstance(y, Tracer):
            count = sum(k.split("#")[0] == name for k in results)
            results[f"{name}#{count + 1}" if count else name] = y  # pyright: ignore[reportArgumentType]

    with recording(model, keep):
        y = model(x, **kwargs)
    _require_array(y, model)
    return results | {"output": y}
