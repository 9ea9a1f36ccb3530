"""The features of an image: what the last layer of a network, that to the classes, is given."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from gconv_jax.layer_outputs import capture_layer_outputs
from gconv_jax.models import Augerino
from gconv_jax.nnx import Canonicalized, Symmetrized

AROUND_A_NETWORK = (Augerino, Canonicalized, Symmetrized)
"""Modules that give another one, their ``model``, images in other poses, and combine its results.
"""


def with_features(model: nnx.Module) -> Callable[[jax.Array], jax.Array]:
    """Return a function of images to features and logits beside each other, ``[N, F + classes]``,
    float32.

    The features are the input of the last layer with as many outputs as there are classes, averaged
    over space and over the group. So they are invariant where the layers before it are equivariant.
    Those of networks that are given several poses of an image are combined as their logits are.

    ValueError, when it is called, if the network ends in another way.
    """

    def run(image: jax.Array) -> jax.Array:
        inputs: dict[str, Any] = {}
        ends: list[tuple[str, int]] = []

        def enter(path: str, layer: Any, arguments: tuple) -> None:
            if hasattr(layer, "out_features"):
                inputs[path] = arguments[0]

        def keep(path: str, layer: Any, result: Any) -> None:
            if hasattr(layer, "out_features"):
                ends.append((path, layer.out_features))

        with capture_layer_outputs(model, keep, enter=enter):  # pyright: ignore[reportArgumentType]
            logits = model(image)  # pyright: ignore[reportCallIssue]
        last, outputs = ends[-1] if ends else ("", 0)
        x = inputs.get(last)
        if outputs != logits.shape[-1] or not isinstance(x, jax.Array):
            raise ValueError(
                f"{type(model).__name__} has no features: its last layer must be one from features "
                "to the classes"
            )
        features = x.astype(jnp.float32).mean(tuple(range(1, x.ndim - 1)))
        return jnp.concatenate([features, logits.astype(jnp.float32)], -1)

    if not isinstance(model, AROUND_A_NETWORK):
        return run
    around = nnx.clone(model)
    del around.model
    around.model = with_features(model.model)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return around  # pyright: ignore[reportReturnType]
