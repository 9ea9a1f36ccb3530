"""Data sets as TFDS builders that need no TensorFlow, and one call to load them as arrays.

Needs the extra ``gconv_jax[datasets]``. `load_arrays` is what a training script wants; the builder
classes `Mnist` and `RotatedMnist` are for those who work with TFDS directly.
"""

from gconv_jax.datasets._idx import read_idx as read_idx
from gconv_jax.datasets._rotate import rotate_images as rotate_images
from gconv_jax.datasets.loading import load_arrays as load_arrays
from gconv_jax.datasets.mnist import Mnist as Mnist
from gconv_jax.datasets.rotated_mnist import RotatedMnist as RotatedMnist
