"""A Linen module as an NNX module, for what takes such: saved networks, and the training program.

``flax.nnx.bridge.ToNNX`` does the same, and not in all versions of Flax that this library runs
with: that of 0.11.2 replaces nested layers by their updated statistics and loses their parameters.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

MODES = ("train", "training", "is_training", "deterministic", "use_running_average")
"""The arguments of a Linen module that say whether it is trained."""


class OtherVariable(nnx.Variable):
    """A variable of a Linen collection that is neither of parameters nor of batch statistics."""


class Scope(nnx.Module):
    """A dictionary of variables, which may be nested."""

    def __init__(self, tree: Mapping[str, Any], kind: type[nnx.Variable] = OtherVariable):
        self._scope_names = tuple(tree)
        for name, part in tree.items():
            if not isinstance(part, Scope):
                part = Scope(part, kind) if isinstance(part, Mapping) else kind(part)
            setattr(self, name, part)

    def values(self) -> dict[str, Any]:
        """Return the arrays."""
        parts = {name: getattr(self, name) for name in self._scope_names}
        return {n: p.values() if isinstance(p, Scope) else p[...] for n, p in parts.items()}

    def set_values(self, tree: Mapping[str, Any]) -> None:
        """Set some of the arrays."""
        for name, part in tree.items():
            if isinstance(part, Mapping):
                getattr(self, name).set_values(part)
            else:
                getattr(self, name)[...] = part


_KINDS = {"params": nnx.Param, "batch_stats": nnx.BatchStat}


class LinenModel(nnx.Module):
    """A Linen module from images to outputs, with its variables and random keys as those of NNX.

    ``train()`` and ``eval()`` set the arguments `MODES` of its call, as far as it takes them. Where
    ``use_running_average`` alone is off, batch normalization takes the statistics of the batch, and
    nothing is dropped.

    Args:
        module: the Linen module.
        image_shape: the shape of an image, which initializes the parameters.
        rngs: the random keys.

    Raises:
        ValueError: it has batch statistics, and its call takes none of `MODES`.

    ``model.variables.values()`` are the variables of the Linen module, as its ``apply`` takes them,
    and ``model.variables.set_values(variables)`` sets them.

    >>> import jax.numpy as jnp
    >>> from flax import linen, nnx
    >>> from gconv_jax.models import LinenModel
    >>> model, x = LinenModel(linen.Dense(3), (4,), rngs=nnx.Rngs(0)), jnp.ones((2, 4))
    >>> bool((model(x) == linen.Dense(3).apply(model.variables.values(), x)).all())
    True
    """

    def __init__(self, module: linen.Module, image_shape: tuple[int, ...], *, rngs: nnx.Rngs):
        takes = inspect.signature(type(module).__call__).parameters
        self.takes = tuple(name for name in MODES if name in takes)
        self.module = module
        self.rngs = rngs
        self.deterministic = False
        self.use_running_average = False
        self.axis_name: str | None = None
        self.momentum: float | None = None
        """The momentum of batch normalization, in place of that of its layers."""
        image = jnp.zeros((1, *image_shape))
        made = linen.meta.unbox(module.init(rngs(), image, **self._mode(trained=False)))
        self.variables = Scope(
            {name: Scope(tree, _KINDS.get(name, OtherVariable)) for name, tree in made.items()}
        )
        if "batch_stats" in made and not self.takes:
            raise ValueError(
                f"{type(module).__name__} has batch statistics, and its __call__ takes none of "
                f"{', '.join(MODES)}, which say whether it is trained"
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the outputs of images ``[N, H, W, C]``."""
        trained, variables = not self.use_running_average, self.variables.values()
        changing = [name for name in variables if name != "params"] if trained else []
        # Linen takes the keys of all its streams from that of the parameters. An evaluation draws
        # nothing: it may run within a loop over poses, where a key must not be used up.
        rngs = {"params": self.rngs()} if trained else {}
        mode = self._mode(trained=trained)
        with linen.intercept_methods(self._interceptor):
            y, changed = self.module.apply(variables, x, rngs=rngs, mutable=changing, **mode)
        self.variables.set_values(changed)
        return y

    def _mode(self, *, trained: bool) -> dict[str, Any]:
        values = {"deterministic": not trained, "use_running_average": not trained}
        return {name: values.get(name, trained) for name in self.takes}

    def _interceptor(self, call: Any, args: tuple, kwargs: dict, context: Any) -> Any:
        layer = context.module
        if context.method_name == "__call__" and isinstance(layer, linen.BatchNorm):
            # Modules are frozen against their users; this one lives for this call alone.
            object.__setattr__(layer, "axis_name", self.axis_name)
            if self.momentum is not None:
                object.__setattr__(layer, "momentum", self.momentum)
        dropout = context.method_name == "__call__" and isinstance(layer, linen.Dropout)
        if dropout and self.deterministic:
            return args[0] if args else kwargs["inputs"]
        return call(*args, **kwargs)
