"""From stored pixels to the network's input: scaling and augmentation, inside the compiled step."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from gconv_jax import rotate
from train.data import to_unit

JITTER = math.radians(math.pi)


@dataclass(frozen=True)
class Prepare:
    """``(pixels - mean) / std``, then a random rotation if ``augment`` says so.

    ``jitter`` turns by an angle uniform in +-3.14 degrees and fills with 0 after scaling, i.e.
    with the mean grey, as the published code did; ``rotate`` turns by any angle and fills with
    the background.
    """

    mean: float
    std: float
    augment: str = "none"

    def __call__(self, image: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """``[N, H, W, C]`` to the same in float32; without ``keys`` (one each) no augmentation."""
        image = (to_unit(image) - self.mean) / self.std
        if keys is None or self.augment == "none":
            return image
        if self.augment == "jitter":
            largest, fill = JITTER, 0.0
        else:
            largest, fill = jnp.pi, -self.mean / self.std
        angles = jax.vmap(lambda key: jax.random.uniform(key, (), minval=-largest, maxval=largest))
        return jax.vmap(lambda x, angle: rotate(x, angle, fill=fill))(image, angles(keys))
