"""`assert_equivariant` and `equivariance_errors`: checks of the law, element by element."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gconv_jax.groups.fields import Fields
from gconv_jax.groups.finite import FiniteGroup
from gconv_jax.groups.irrep_features import TRIVIAL, IrrepFeatures, from_irreps
from gconv_jax.lattice.actions import (
    as_arrays,
    find_action,
    find_tree_action,
    is_array,
    leaves_of,
    possible_actions,
)
from gconv_jax.testing.blame import Event, first_fault
from gconv_jax.testing.moves import InputTransform, input_transforms, smooth_images as smooth_images
from gconv_jax.testing.perturbation import copy_of, is_flax, perturbed

OUTPUT = Event("", returns=True)
# A GPU or TPU rounds the operands of its products otherwise: an error of 1e-3 that proves nothing.
PRECISION = "highest"


def assert_equivariant(
    fn: Callable[..., Any],
    x: Any,
    *,
    group: FiniteGroup,
    atol: float = 0.0,
    rtol: float | None = None,
    rtol_resampled: float | None = None,
    input_action: Any = None,
    output_action: Any = None,
    perturb: bool = True,
    **kwargs,
) -> None:
    """Assert ``fn(L_g x) == L_g fn(x)`` for all elements g of ``group``.

    Args:
        fn: a function, an NNX module, or a bound Linen module. It must be deterministic. A
            module is left as it was: in training mode the statistics change in a copy. Pass the
            module itself; a function that calls it is checked with the parameters and statistics
            that it has.
        x: a batch of images ``[N, *spatial, C]`` or of feature maps ``[N, *spatial, |G|, C]``, the
            same as `IrrepFeatures`, or a tree of them, the first argument of ``fn``.
        group: the symmetry. Images are resampled for elements that do not map pixels onto pixels.
        atol, rtol: the largest error allowed is ``atol + rtol * max|fn(x)|``. By default ``rtol``
            is 1e-10 for float64, 1e-4 for float32, 0.05 for shorter results and 0 for integers.
        rtol_resampled: the tolerance in place of ``rtol`` for elements that resample the image;
            sizes are then root mean squares over the disc that fits into the image. It must be
            given for groups with such elements: `gconv_jax.testing` says how to choose it.
        input_action, output_action: the action of g on the input and the output: ``"image"``,
            ``"feature_map"``, ``"orientations"`` (``[..., |G|, C]`` that stay in place, such as
            tokens), ``"invariant"``, a `gconv_jax.Fields` for images or logits with the
            components of vectors, or a function ``(array, element) -> array``. By default it is
            read off the shape: ``[N, *spatial, |G|, C]`` is a feature map, ``[N, *spatial, C]`` an
            image, and ``[N]`` or ``[N, C]``, such as logits, invariant. For a tree it is one action
            for all arrays, or a tree of actions.
        perturb: whether a module is checked once more with parameters and batch statistics
            perturbed (see `gconv_jax.testing`). Pass False if not all values are allowed for them.
        **kwargs: keywords for ``fn``.

    Raises:
        AssertionError: the law is broken. The message names the function, the worst element, its
            error and, for a Flax model, the first layer that breaks the law, or the layers between
            which it is broken. It says so if the model is equivariant as it is, and not when
            perturbed. It is also raised if ``fn(x)`` is zero everywhere.
        ValueError: an action cannot be read off the shape, or ``rtol_resampled`` is missing for a
            group that needs it.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, lift_conv
    >>> from gconv_jax.testing import assert_equivariant
    >>> x = jnp.arange(2 * 9 * 9 * 3.0).reshape(2, 9, 9, 3)
    >>> w = jnp.arange(9 * 3 * 5.0).reshape(3, 3, 3, 5)
    >>> assert_equivariant(lambda x: lift_conv(x, w, group=P4), x, group=P4)
    """
    x = as_arrays(x)
    act_in = find_tree_action(input_action, x, group, "input")
    resampled = [move.name for move in input_transforms(group) if not move.exact]
    if resampled and rtol_resampled is None:
        raise ValueError(
            f"`rtol_resampled` must be given for {group!r}, whose elements {', '.join(resampled)} "
            "resample the image; see gconv_jax.testing on how to choose it"
        )

    def check(fn, name: str) -> bool:
        given = x, act_in, input_action, output_action, group, atol, (rtol, rtol_resampled)
        with jax.default_matmul_precision(PRECISION):
            return _check(fn, name, *given, kwargs)

    name = _name(fn)
    proven = check(copy_of(fn), name)
    if perturb and is_flax(fn):
        as_it_is = "is equivariant as it is" if proven else "returns zeros as it is"
        state = "with parameters and statistics perturbed, as training may change them, it"
        longer = f"{name} {as_it_is}, but {state}"
        name, proven = longer if proven else name, check(perturbed(fn), longer)
    if not proven:
        raise AssertionError(
            f"{name} is zero everywhere, which keeps every law and proves none; use another `x`"
        )


def _check(fn, name, x, act_in, input_action, output_action, group, atol, rtols, kwargs) -> bool:
    """Return whether ``fn(x)`` is not zero everywhere; AssertionError if ``fn`` breaks the law."""
    y = fn(x, **kwargs)
    _require_arrays(y, fn)
    act_out = find_tree_action(output_action, y, group, "output")
    outputs = leaves_of(y)
    if not any(np.any(np.asarray(a)) for a in outputs.values()):
        return False
    moves = input_transforms(group)

    def exact_rtol(a: jax.Array) -> float:
        return _default_rtol(a.dtype) if rtols[0] is None else rtols[0]

    # By the path of an array and by element.
    errors: dict[tuple[str, int], float] = {}
    allowed: dict[tuple[str, int], float] = {}
    for g, move in enumerate(moves):
        turned = leaves_of(fn(act_in(x, move), **kwargs))
        expected = leaves_of(act_out(y, move))
        for (path, a), act in zip(outputs.items(), act_out.acts, strict=True):
            relative = exact_rtol(a) if move.exact else rtols[1]
            allowed[path, g] = atol + relative * move.size(np.asarray(a), act.channel_axes)
            errors[path, g] = np.inf
            if path in turned:
                errors[path, g] = move.distance(turned[path], expected[path], act.channel_axes)
    # `not <=` so that a NaN fails as well.
    failed = [key for key in errors if not errors[key] <= allowed[key]]
    if not failed:
        return True
    key = max(failed, key=lambda k: np.nan_to_num(errors[k] / (allowed[k] or 1), nan=np.inf))
    (path, worst), count = key, len({g for _, g in failed})
    name = f"{name} at {path}" if path else name
    tolerances = exact_rtol(outputs[path]), rtols[1]
    raise AssertionError(
        f"{name} is not equivariant under {count} of the {group.order} elements of "
        f"{group!r}; worst is element {worst} ({group.element_name(worst)}): the "
        f"{'largest' if moves[worst].exact else 'root mean square'} error is "
        f"{errors[key]:.3g}, allowed {allowed[key]:.3g}"
        + _first_fault(fn, x, group, (input_action, output_action), tolerances, kwargs)
    )


@dataclass(frozen=True)
class EquivarianceReport:
    """Equivariance errors of a model's layers, in the order in which they finish.

    Attributes:
        group: the group.
        moves: the names of its elements, or the angles asked for.
        as_is: the relative errors of each layer of the model as it is, float64 ``[len(moves)]``.
            They are NaN where no action could be read off the shape of the layer's result, or where
            it has orientations and the angle is none of the group's.
        perturbed: the same with parameters and batch statistics perturbed; None if that was not
            asked for, or not possible.
    """

    group: FiniteGroup
    moves: tuple[str, ...]
    as_is: dict[str, np.ndarray]
    perturbed: dict[str, np.ndarray] | None

    @property
    def errors(self) -> dict[str, np.ndarray]:
        """The larger one of the errors `as_is` and `perturbed`, for each layer."""
        if self.perturbed is None:
            return self.as_is
        unknown = np.full(len(self.moves), np.nan)
        return {
            name: np.fmax(self.as_is.get(name, unknown), self.perturbed.get(name, unknown))
            for name in self.as_is | self.perturbed
        }

    def __str__(self) -> str:
        errors = self.errors
        width = max(map(len, [*errors, "layer"]))
        rows = [
            ["        ?" if np.isnan(e) else f"{e:9.1e}" for e in row] for row in errors.values()
        ]
        header = f"{'layer':{width}}" + "".join(f" {n:>9}" for n in self.moves)
        lines = [f"{k:{width}} " + " ".join(row) for k, row in zip(errors, rows, strict=True)]
        if self.perturbed is not None:
            lines.append("the larger of two: the model as it is, and perturbed")
        return "\n".join([header, *lines])


def equivariance_errors(
    model: Callable[..., Any],
    x: Any,
    *,
    group: FiniteGroup,
    angles: Sequence[float] | None = None,
    input_action: Any = None,
    output_action: Any = None,
    perturb: bool = True,
    **kwargs,
) -> EquivarianceReport:
    """Measure how far each layer of a Flax model is from the law, for each group element.

    The equivariance error is ``max|y(L_g x) - L_g y(x)| / max|y(x)|`` for the result y of every
    submodule while the whole model runs. Where the image is resampled, root mean squares over the
    disc replace the maxima. Errors accumulate with depth: the first large one shows the layer to
    mend.

    Args:
        model: an NNX module or a bound Linen module (``module.bind(variables)``), which is left as
            it was; any other function gets one row, ``output``.
        x, group, input_action, output_action, kwargs: as in `assert_equivariant`.
        angles: angles in radians at which to measure, instead of the elements of the group. Images
            and invariant results have a figure at any angle, feature maps at those of the group.
        perturb: whether to measure once more with parameters and batch statistics perturbed (see
            `gconv_jax.testing`). False, or `EquivarianceReport.as_is`, gives the figures of a
            trained network itself, which depend on its parameters where the image is resampled.

    Returns:
        An `EquivarianceReport`; print it for a table of the larger one of the two errors. A tree
        that the model returns has no row.

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
    x = as_arrays(x)
    moves = input_transforms(group, angles)

    def measure(model) -> dict[str, np.ndarray]:
        with jax.default_matmul_precision(PRECISION):
            found = _errors(model, x, moves, group, (input_action, output_action), kwargs)
        return {
            e.layer or "output": row for e, row in found.items() if e.returns and row is not None
        }

    as_is = measure(copy_of(model))
    other = measure(perturbed(model)) if perturb and is_flax(model) else None
    return EquivarianceReport(group, tuple(move.name for move in moves), as_is, other)


def _default_rtol(dtype) -> float:
    if not jnp.issubdtype(dtype, jnp.inexact):
        return 0.0
    return {64: 1e-10, 32: 1e-4}.get(jnp.finfo(dtype).bits, 0.05)


def _require_arrays(y, fn) -> None:
    leaves = jax.tree.leaves(y, is_leaf=lambda leaf: isinstance(leaf, IrrepFeatures))
    wrong = [leaf for leaf in leaves if not is_array(leaf)]
    if wrong or not leaves:
        found = type(wrong[0] if wrong else y).__name__
        raise TypeError(
            f"{_name(fn)} must return an array or a tree of arrays, got {found}; pass a function "
            "that selects what is to be checked"
        )


def _name(fn) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _first_fault(fn, x, group, actions, rtols, kwargs) -> str:
    """Return the end of a message, which names the first layer at fault, or an empty string."""
    if not is_flax(fn):
        return ""
    moves = input_transforms(group)
    errors = _errors(fn, x, moves, group, actions, kwargs)
    exact = np.array([move.exact for move in moves])
    # Rounding is the fault of no layer.
    rounding = max(_default_rtol(a.dtype) for a in leaves_of(x).values())
    # Errors of exact moves are tried first, since they leave no doubt.
    for members, rtol in ((exact, max(rtols[0], rounding)), (~exact, rtols[1])):
        found = first_fault(list(errors), list(errors.values()), members, rtol)
        if found is not None:
            place, g, error = found
            by = f"by {error:.3g} of its size under element {g} ({group.element_name(g)})"
            return f"; {place}, {by}" if place else ""
    return ""


def _errors(
    model,
    x: Any,
    moves: Sequence[InputTransform],
    group: FiniteGroup,
    actions: tuple[Any, Any],
    kwargs: dict,
) -> dict[Event, np.ndarray | None]:
    """Return the relative errors of each layer's input and result, and of the model's result.

    They are ``[len(moves)]``, NaN where no action can be read off the shape, and None in place of
    all for a value that is no array.
    """
    act_in = find_tree_action(actions[0], x, group, "input")
    fields = [action for action in jax.tree.leaves(actions) if isinstance(action, Fields)]
    reference = _record(model, x, kwargs)
    errors = {e: None if y is None else np.full(len(moves), np.nan) for e, y in reference.items()}
    for i, move in enumerate(moves):
        for event, turned in _record(model, act_in(x, move), kwargs).items():
            y, row = reference.get(event), errors.get(event)
            if y is None or row is None or turned is None:
                continue
            if event == OUTPUT and actions[1] is not None:
                acts = [find_action(actions[1], y, group, "output")]
            else:
                acts = possible_actions(y, group, is_output=event == OUTPUT, fields=fields)
            for act in acts:
                with contextlib.suppress(ValueError):  # no action at this angle
                    expected = act(y, move)
                    # [N, T, |G|, C] and [N, T, 1, C] have as many axes as an image of the plane.
                    tokens = y.ndim == group.dimension + 2 and y.shape[-2] in (1, group.order)
                    if tokens and expected.shape != turned.shape and event != OUTPUT:
                        continue
                    scale = move.size(np.asarray(y), act.channel_axes) or 1.0
                    error = move.distance(turned, expected, act.channel_axes) / scale
                    row[i] = np.fmin(row[i], np.inf if np.isnan(error) else error)
    return errors


def _record(model, x: Any, kwargs: dict) -> dict[Event, jax.Array | None]:
    """Return the first array that each layer is given, what it returns, and the model's result.

    None stands for values that cannot be compared: other types, and tracers inside jit or scan.
    """
    from gconv_jax.layer_outputs import capture_layer_outputs

    found: dict[Event, jax.Array | None] = {}
    calls: dict[str, int] = {}
    running: list[str] = []

    def enter(path: str, layer, arguments) -> None:
        calls[path] = calls.get(path, 0) + 1
        running.append(path if calls[path] == 1 else f"{path}#{calls[path]}")
        arrays = [a for a in arguments if isinstance(a, jax.Array | np.ndarray | IrrepFeatures)]
        found[Event(running[-1], returns=False)] = _concrete(arrays[0]) if arrays else None

    def keep(path: str, layer, y) -> None:
        while (name := running.pop()).partition("#")[0] != path:
            pass  # the call of a layer that raised an error, which the model caught
        found[Event(name, returns=True)] = _concrete(y)

    with capture_layer_outputs(model, keep, enter=enter):
        y = model(x, **kwargs)
    _require_arrays(y, model)
    return found | {OUTPUT: _concrete(y)}  # None for a tree


def _concrete(y) -> jax.Array | None:
    if isinstance(y, IrrepFeatures) and not isinstance(y.parts[TRIVIAL], Tracer):
        y = from_irreps(y)  # as a feature map, whose action is read off its shape
    known = isinstance(y, jax.Array | np.ndarray) and not isinstance(y, Tracer)
    return y if known else None  # pyright: ignore[reportReturnType]
