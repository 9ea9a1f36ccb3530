"""The features of an image: what the last layer of a network, that to the classes, is given."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from gconv_jax.layer_outputs import capture_layer_outputs
from gconv_jax.models import Augerino
from gconv_jax.nnx import Canonicalized, Symmetrized

from .rescaled import Rescaled

AROUND_A_NETWORK = (Augerino, Canonicalized, Symmetrized)
"""Modules that give another one, their ``model``, images in other poses, and combine its results.
"""


def with_features(model: nnx.Module) -> Callable[[jax.Array], jax.Array]:
    """Return a function of images to features and logits beside each other, ``[N, F + classes]``,
    float32.

    The features are those of the method ``features``, which all networks of `gconv_jax.models`
    have, averaged over axes between the first and the last. Those of networks that are given
    several poses of an image are combined as their logits are. Of a model of the user's own without
    that method, they are the input of the last layer with as many outputs as there are classes.

    ValueError, when it is called, if such a model ends in another way.
    """

    def run(image: jax.Array) -> jax.Array:
        inputs: dict[str, Any] = {}
        ends: list[tuple[str, int]] = []

        def enter(path: str, layer: Any, arguments: tuple) -> None:
            if _outputs(layer) is not None:
                inputs[path] = arguments[0]

        def keep(path: str, layer: Any, result: Any) -> None:
            if (count := _outputs(layer)) is not None:
                ends.append((path, count))

        with capture_layer_outputs(model, keep, enter=enter):  # pyright: ignore[reportArgumentType]
            logits = model(image)  # pyright: ignore[reportCallIssue]
        last, outputs = ends[-1] if ends else ("", 0)
        x = inputs.get(last)
        if outputs != logits.shape[-1] or not isinstance(x, jax.Array):
            raise ValueError(
                f"{type(model).__name__} has no features: its last layer must be one from features "
                "to the classes"
            )
        return _beside(x, logits)

    if not isinstance(model, AROUND_A_NETWORK):
        network: Any = model.model if isinstance(model, Rescaled) else model
        if callable(getattr(network, "features", None)):
            return lambda image: _beside(network.features(image), model(image))  # pyright: ignore[reportCallIssue]
        return run
    around = nnx.clone(model)
    del around.model
    around.model = with_features(model.model)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return around  # pyright: ignore[reportReturnType]


def _outputs(layer: Any) -> int | None:
    """Return the outputs of a layer of NNX, or of one of Linen; None if it has no such number."""
    outputs = getattr(layer, "out_features", None)
    return getattr(layer, "features", None) if isinstance(layer, linen.Module) else outputs


def _beside(features: jax.Array, logits: jax.Array) -> jax.Array:
    features = features.astype(jnp.float32).mean(tuple(range(1, features.ndim - 1)))
    return jnp.concatenate([features, logits.astype(jnp.float32)], -1)
