"""The base class of the reference networks, which remember the arguments that made them.

They are kept as a text, JSON, in an attribute of the module that is static for NNX. So it is the
same in copies, in split and merged modules, and in compiled functions, and it can be hashed.
"""

import difflib
import functools
import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import jax
from flax import nnx

from gconv_jax.models._arguments import NETWORK, UNKNOWN, decode, encode
from gconv_jax.models.linen_model import LinenModel
from gconv_jax.nnx import Canonicalized, ScorePoses, Symmetrized

NETWORKS: dict[str, type[nnx.Module]] = {
    kind.__name__: kind for kind in (Symmetrized, Canonicalized, ScorePoses)
}
"""The networks that a file may name: those of `gconv_jax.models`, and what is around them."""
OWN, CLASS = "own", "class"
"""The name that stands for a module of the user's own, and its argument, which people read: the
name of its class. Nothing is made of it."""
_RECORD, _OURS = "_arguments", "gconv_jax.models."


class Network(nnx.Module):
    """A network that remembers its arguments, those of the outermost constructor.

    It is made of a part up to the last feature maps, `feature_maps`, and of two ends, each a
    function of these maps: ``_pool`` to the features and ``_outputs`` to the logits. A call is
    ``_outputs(feature_maps(x))``. Without classes, ``classes=0``, there is no last layer, and a
    call is `features`.
    """

    classes: int
    """The number of outputs; 0 for none."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _remembering(cls.__init__)
        if cls.__module__.startswith(_OURS) and not cls.__name__.startswith("_"):
            NETWORKS[cls.__name__] = cls

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return logits ``[N, classes]`` of images ``[N, H, W, in_features]`` or volumes
        ``[N, D, H, W, in_features]``; without classes, `features`."""
        maps = self.feature_maps(x)
        return self._outputs(maps) if self.classes else self._pool(maps)

    def feature_maps(self, x: jax.Array) -> Any:
        """Return the feature maps that the end of the network is given: ``[N, *spatial, |G|, C]``
        for images or volumes, or ``[N, *spatial, C]`` if the layers before are plain or pooled over
        the group. They turn with the image as far as the layers before are equivariant."""
        raise TypeError(
            f"{type(self).__name__} has no feature maps: those of its copies lie in other poses; "
            "call `model.feature_maps`"
        )

    def features(self, x: jax.Array) -> jax.Array:
        """Return the features ``[N, C]`` of images or volumes: what the last layer, that to the
        classes, is given, averaged over space and over the group if it still has these axes. They
        are invariant where the layers before are equivariant."""
        return self._pool(self.feature_maps(x))

    def _pool(self, maps: Any) -> jax.Array:
        """Return the features of `feature_maps`."""
        return maps.mean(tuple(range(1, maps.ndim - 1)))

    def _outputs(self, maps: Any) -> jax.Array:
        """Return the logits of `feature_maps`."""
        raise NotImplementedError


def describe(model: nnx.Module) -> dict[str, Any]:
    """Return a network by its name and its arguments, as JSON values; a module that is none of
    `NETWORKS` as `OWN`.

    TypeError names what is no module, or the argument that has no such form.
    """
    name = type(model).__name__
    if not isinstance(model, nnx.Module):
        raise TypeError(f"`model` must be an nnx.Module, got {name}")
    found = _nested(model)
    for key, value in found["arguments"].items():
        for kind in _unknown(value):
            raise TypeError(
                f"`{key}` of {name} is or has {kind}, which config.json cannot hold: leave it out, "
                "or save the model with orbax"
            )
    for key, kind in _own_elsewhere(found):
        raise TypeError(
            f"`{key}` is or has a module of your own, {kind}, and config.json can say so of "
            "`model` alone: take a network of gconv_jax.models, or save the model with orbax"
        )
    return found


def build(
    description: Any, rngs: nnx.Rngs, own: Callable[[], nnx.Module] | None = None
) -> nnx.Module:
    """Return a new network of a description, the inverse of `describe`.

    Args:
        description: the name of the network and its arguments.
        rngs: the random keys.
        own: a function that returns the module where the description says `OWN`.

    Raises:
        ValueError: it names what this version does not know, or a module that is not given.
    """
    name = description.get(NETWORK) if isinstance(description, dict) else None
    if name == OWN and own is not None:
        return own()
    if name == OWN:
        arguments = description.get("arguments")
        kind = arguments.get(CLASS) if isinstance(arguments, dict) else None
        raise ValueError(
            f"the network is a module of the user's own, {kind}, and no file has its code: make "
            "it, and give it to load_pretrained as model="
        )
    kind = NETWORKS.get(name) if isinstance(name, str) else None
    if kind is None:
        near = difflib.get_close_matches(str(name), NETWORKS, n=1) or sorted(NETWORKS)
        raise ValueError(
            f"`network` {name!r} is none that this version knows; it knows {', '.join(near)}"
        )
    arguments, takes = description.get("arguments"), _parameters(kind)
    if not isinstance(arguments, dict):
        raise ValueError(f"`arguments` of {name} must be an object, got {arguments!r}")
    if unknown := sorted(arguments.keys() - takes.keys()):
        raise ValueError(f"`{unknown[0]}` is no argument of {name}, which takes {', '.join(takes)}")
    found = {}
    for key, value in arguments.items():
        try:
            found[key] = decode(value, lambda nested: build(nested, rngs, own))
        except (ValueError, TypeError) as error:
            raise ValueError(f"`{key}` of {name}: {error}") from None
    if "rngs" in inspect.signature(kind.__init__).parameters:
        found["rngs"] = rngs
    try:
        return kind(**found)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} does not take these arguments: {error}") from None


def has_own(description: Any) -> bool:
    """Return whether a description names a module of the user's own."""
    if not isinstance(description, dict):
        return False
    arguments = description.get("arguments")
    nested = arguments.values() if isinstance(arguments, dict) else ()
    return description.get(NETWORK) == OWN or any(map(has_own, nested))


def _own_elsewhere(description: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the arguments, other than a nested ``model``, that are or have a module of the user's
    own, with the name of its class."""
    for key, value in description["arguments"].items():
        if key == "model" and isinstance(value, dict) and NETWORK in value:
            yield from _own_elsewhere(value)
        elif has_own(value):
            while value[NETWORK] != OWN:
                value = next(v for v in value["arguments"].values() if has_own(v))
            yield key, value["arguments"][CLASS]


def _remembering(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that keeps its arguments in the module."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remember_and_init(self: nnx.Module, *args: Any, **kwargs: Any) -> None:
        if _RECORD not in vars(self):
            try:
                bound = signature.bind(self, *args, **kwargs)
            except TypeError:
                init(self, *args, **kwargs)  # says it in its own words
                raise
            bound.apply_defaults()
            _, *given = bound.arguments.items()
            setattr(self, _RECORD, json.dumps({k: _value(v) for k, v in given if k != "rngs"}))
        init(self, *args, **kwargs)

    return remember_and_init


def _value(value: Any) -> Any:
    """Return an argument as a JSON value, or a note that it has none."""
    try:
        return encode(value, _nested)
    except TypeError as error:
        return {UNKNOWN: str(error)}


def _nested(value: Any) -> dict[str, Any]:
    name = type(value).__name__
    if NETWORKS.get(name) is type(value):
        return _describe(value)
    if isinstance(value, nnx.Module):
        linen = isinstance(value, LinenModel)
        name = type(value.module).__name__ if linen else name
        return {NETWORK: OWN, "arguments": {CLASS: name}}
    raise TypeError(f"a value of the type {name}")


def _describe(model: nnx.Module) -> dict[str, Any]:
    """Return a network by its name and its arguments, with notes on those without a JSON value."""
    if isinstance(model, Network):
        arguments = json.loads(getattr(model, _RECORD))
    else:  # its arguments are its attributes
        arguments = {key: _value(getattr(model, key)) for key in _parameters(type(model))}
    return {NETWORK: type(model).__name__, "arguments": arguments}


def _unknown(value: Any) -> Iterator[str]:
    """Yield the notes on parts of an argument that have no JSON value."""
    if isinstance(value, dict) and UNKNOWN in value:
        yield value[UNKNOWN]
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _unknown(part)


def _parameters(kind: type[nnx.Module]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a network's constructor by name, without the random keys."""
    found = inspect.signature(kind.__init__).parameters
    return {key: value for key, value in found.items() if key not in ("self", "rngs")}
