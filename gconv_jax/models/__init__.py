"""Reference networks in Flax NNX, one file for each family."""

from gconv_jax.models.rotated_mnist import (
    P4CNN as P4CNN,
    Z2CNN as Z2CNN,
    P4CNNRotationPooling as P4CNNRotationPooling,
)
