"""Terms that a configuration adds to the loss of a training step."""

from collections.abc import Callable
from typing import Any

import jax

from gconv_jax import equivariance_penalty, monotone_penalty, pose_prior
from gconv_jax.nnx import supports

from ..config import Config
from .build_model import GROUPS

Penalty = Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array]
"""A function of the model in training, its input, its logits, and a random key for each image. The
model is a copy that has not been called: it drops what the other dropped, and what it adds to the
running statistics is lost."""


def make_penalty(config: Config) -> Penalty | None:
    """Return the sum of all terms, or None if there are none."""
    terms: list[Penalty] = []
    if config.monotone:
        terms.append(lambda model, *_: config.monotone * monotone_penalty(supports(model).values()))
    if config.adapt == "canonicalize":
        terms.append(lambda model, image, *_: config.adapt_weight * pose_prior(model.by(image)))
    elif config.adapt == "penalty":
        group = GROUPS[config.adapt_group]

        def deviation(model: Any, image: jax.Array, logits: jax.Array, key: jax.Array) -> jax.Array:
            found = equivariance_penalty(model, image, group=group, key=key, y=logits)  # pyright: ignore[reportArgumentType]
            return config.adapt_weight * found

        terms.append(deviation)
    if not terms:
        return None
    return lambda *given: sum((term(*given) for term in terms[1:]), terms[0](*given))
