"""Checks of the equivariance law, for these layers and for a user's own functions and models.

The law is ``fn(L_g x) == L_g fn(x)`` for every element g of a finite group. Nothing is sampled:
all elements are tried, and a report says which one failed, in which layer, by how much.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gconv_jax.action import transform
from gconv_jax.groups import FiniteGroup, check_group

Action = str | Callable[[jax.Array, int], jax.Array]
ACTIONS = ("image", "feature_map", "invariant")


def assert_equivariant(
    fn: Callable[..., jax.Array],
    x: jax.Array,
    *,
    group: FiniteGroup,
    atol: float = 0.0,
    rtol: float | None = None,
    input_action: Action | None = None,
    output_action: Action | None = None,
    **kwargs,
) -> None:
    """Assert ``fn(L_g x) == L_g fn(x)`` for all elements g of ``group``.

    Args:
        fn: a function, an NNX module, or a bound Linen module. It must be deterministic.
        x: a batch of images ``[N, *spatial, C]`` or of feature maps ``[N, *spatial, |G|, C]``.
        group: a symmetry of the lattice.
        atol, rtol: the largest error allowed is ``atol + rtol * max|fn(x)|``. By default ``rtol``
            is 1e-10 for float64, 1e-4 for float32, 0.05 for shorter results and 0 for integers.
        input_action, output_action: how g acts there: ``"image"``, ``"feature_map"``,
            ``"invariant"``, or a function ``(array, element) -> array``. By default read off the
            shape: ``[N, *spatial, |G|, C]`` is a feature map, ``[N, *spatial, C]`` an image, and
            ``[N]`` or ``[N, C]``, such as logits, invariant.
        **kwargs: passed on to ``fn``.

    Raises:
        AssertionError: names the function, the worst element, its error and, for a Flax model,
            the first layer that breaks the law. Also if ``fn(x)`` is zero everywhere.
        ValueError: an action that cannot be read off the shape.

    >>> import jax.numpy as jnp
    >>> from gconv_jax import P4, lift_conv
    >>> from gconv_jax.testing import assert_equivariant
    >>> x = jnp.arange(2 * 9 * 9 * 3.0).reshape(2, 9, 9, 3)
    >>> w = jnp.arange(9 * 3 * 5.0).reshape(3, 3, 3, 5)
    >>> assert_equivariant(lambda x: lift_conv(x, w, group=P4), x, group=P4)
    """
    x = jnp.asarray(x)
    act_in = _action(input_action, x, group, "input")
    y = fn(x, **kwargs)
    _require_array(y, fn)
    act_out = _action(output_action, y, group, "output")
    if rtol is None:
        rtol = _default_rtol(y.dtype)
    largest = float(jnp.max(jnp.abs(y), initial=0.0))
    if largest == 0:
        raise AssertionError(
            f"{_name(fn)} is zero everywhere, which keeps every law and proves none; "
            "use another `x`"
        )
    allowed = atol + rtol * largest
    errors = [_distance(fn(act_in(x, g), **kwargs), act_out(y, g)) for g in group.elements]
    # `not <=` so that a NaN fails as well.
    failed = [g for g in group.elements if not errors[g] <= allowed]
    if not failed:
        return
    worst = max(failed, key=lambda g: np.nan_to_num(errors[g], nan=np.inf))
    raise AssertionError(
        f"{_name(fn)} is not equivariant under {len(failed)} of the {group.order} elements of "
        f"{group!r}; worst is element {worst} ({group.element_name(worst)}): the largest error is "
        f"{errors[worst]:.3g}, allowed {allowed:.3g}"
        + _first_broken_layer(fn, x, group, input_action, rtol, kwargs)
    )


@dataclass(frozen=True)
class EquivarianceReport:
    """Equivariance errors of a model's layers, in the order in which they finish.

    Attributes:
        group: the group.
        errors: for each layer the relative error for each element, float64 ``[|G|]``; NaN where
            no action could be read off the shape of the layer's result.
    """

    group: FiniteGroup
    errors: dict[str, np.ndarray]

    def __str__(self) -> str:
        names = [self.group.element_name(g) for g in self.group.elements]
        width = max(map(len, [*self.errors, "layer"]))
        rows = [
            [f"{e:9.1e}" if np.isfinite(e) else "        ?" for e in row]
            for row in self.errors.values()
        ]
        header = f"{'layer':{width}}" + "".join(f" {n:>9}" for n in names)
        return "\n".join(
            [header]
            + [f"{k:{width}} " + " ".join(row) for k, row in zip(self.errors, rows, strict=True)]
        )


def equivariance_errors(
    model: Callable[..., jax.Array],
    x: jax.Array,
    *,
    group: FiniteGroup,
    input_action: Action | None = None,
    **kwargs,
) -> EquivarianceReport:
    """How far each layer of a Flax model is from the law, for each group element.

    For the result y of every submodule while the whole model runs,
    ``max|y(L_g x) - L_g y(x)| / max|y(x)|``. Errors accumulate with depth: the first large one
    shows the layer to mend.

    Args:
        model: an NNX module or a bound Linen module (``module.bind(variables)``), in evaluation
            mode; any other function gets one row, ``output``.
        x, group, input_action, kwargs: as in `assert_equivariant`.

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
    reference = _record(model, x, kwargs)
    errors = {name: np.full(group.order, np.nan) for name in reference}
    for g in group.elements:
        for name, turned in _record(model, act_in(x, g), kwargs).items():
            y = reference[name]
            try:
                act = _action(None, y, group, name)
            except ValueError:
                continue
            scale = float(jnp.max(jnp.abs(y), initial=0.0)) or 1.0
            errors[name][g] = _distance(turned, act(y, g)) / scale
    return EquivarianceReport(group, errors)


def _action(action: Action | None, x: jax.Array, group: FiniteGroup, what: str):
    """A function ``(array, element) -> array``, given or read off the shape of ``x``."""
    check_group(group)
    if callable(action):
        return action
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
    if action not in ACTIONS:
        raise ValueError(
            f"`{what}_action` must be one of {', '.join(ACTIONS)} or a function (array, element), "
            f"got {action!r}"
        )
    if action == "invariant":
        return lambda y, g: y
    return lambda y, g: transform(y, group=group, element=g, lifted=action == "feature_map")


def _default_rtol(dtype) -> float:
    if not jnp.issubdtype(dtype, jnp.inexact):
        return 0.0
    return {64: 1e-10, 32: 1e-4}.get(jnp.finfo(dtype).bits, 0.05)


def _distance(a: jax.Array, b: jax.Array) -> float:
    if a.shape != b.shape:
        return np.inf
    a, b = (np.asarray(v, np.complex128 if jnp.iscomplexobj(v) else np.float64) for v in (a, b))
    return float(np.max(np.abs(a - b), initial=0.0))


def _require_array(y, fn) -> None:
    if not isinstance(y, jax.Array | np.ndarray):
        raise TypeError(
            f"{_name(fn)} must return one array, got {type(y).__name__}; pass a function that "
            "selects one"
        )


def _name(fn) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _first_broken_layer(fn, x, group, input_action, rtol, kwargs) -> str:
    if not _is_flax(fn):
        return ""
    report = equivariance_errors(fn, x, group=group, input_action=input_action, **kwargs)
    rtol = max(rtol, _default_rtol(jnp.asarray(x).dtype))  # no layer is to blame for rounding
    for name, row in report.errors.items():
        if np.nanmax(row, initial=0.0) > rtol:
            g = int(np.nanargmax(row))
            return (
                f"; the first layer that breaks the law is {name!r}, by {row[g]:.3g} of its "
                f"largest value under element {g} ({group.element_name(g)})"
            )
    return ""


def _is_flax(model) -> bool:
    from flax import linen, nnx

    return isinstance(model, nnx.Module | linen.Module)


def _record(model, x: jax.Array, kwargs: dict) -> dict[str, jax.Array]:
    """The results of all submodule calls by path, and of the model as ``output``."""
    from flax import linen, nnx

    results: dict[str, jax.Array] = {}

    def keep(name: str, y) -> None:
        # Inside jit or scan there are only tracers, which have no values to compare.
        if name and isinstance(y, jax.Array | np.ndarray) and not isinstance(y, jax.core.Tracer):
            count = sum(k.split("#")[0] == name for k in results)
            results[f"{name}#{count + 1}" if count else name] = y

    recording = contextlib.nullcontext()
    if isinstance(model, nnx.Module):
        recording = _record_nnx(model, keep)
    elif isinstance(model, linen.Module):
        if model.scope is None:
            raise ValueError("a Linen `model` must be bound: pass module.bind(variables)")
        recording = linen.intercept_methods(_linen_interceptor(keep))
    with recording:
        y = model(x, **kwargs)
    _require_array(y, model)
    return results | {"output": y}


def _linen_interceptor(keep):
    def interceptor(next_fun, args, kwargs, context):
        y = next_fun(*args, **kwargs)
        if context.method_name == "__call__":
            keep(".".join(context.module.path), y)
        return y

    return interceptor


@contextlib.contextmanager
def _record_nnx(model, keep) -> Iterator[None]:
    """NNX has no interceptors: for the time of one call, wrap ``__call__`` of the classes."""
    from flax import nnx

    modules = [(path, m) for path, m in nnx.iter_graph(model) if isinstance(m, nnx.Module)]
    paths = {id(module): ".".join(map(str, path)) for path, module in modules}
    originals = {type(module): type(module).__call__ for _, module in modules if callable(module)}
    own = {cls: cls.__dict__.get("__call__") for cls in originals}
    active: set[int] = set()  # super().__call__ is part of the same call

    def wrap(original):
        def call(self, *args, **kwargs):
            outer = id(self) not in active
            active.add(id(self))
            try:
                y = original(self, *args, **kwargs)
            finally:
                if outer:
                    active.discard(id(self))
            if outer and id(self) in paths:
                keep(paths[id(self)], y)
            return y

        return call

    try:
        for cls, original in originals.items():
            cls.__call__ = wrap(original)
        yield
    finally:
        for cls, method in own.items():
            if method is None:
                del cls.__call__
            else:
                cls.__call__ = method
