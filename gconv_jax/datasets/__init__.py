"""Data sets as TFDS builders that need no TensorFlow, and one call to load them as arrays.

The package needs the extra ``gconv_jax[datasets]``. `load_arrays` suits a training script, and
`open_records` suits data that do not fit in memory. The builder classes (`Mnist`, `RotatedMnist`,
`Cifar10`, ...) are for those who work with TFDS directly.
"""

from gconv_jax.datasets._idx import read_idx as read_idx
from gconv_jax.datasets._rotate import rotate_images as rotate_images
from gconv_jax.datasets.cifar import Cifar10 as Cifar10, Cifar100 as Cifar100
from gconv_jax.datasets.cifar10_packed import Cifar10Packed as Cifar10Packed
from gconv_jax.datasets.emnist import Emnist as Emnist
from gconv_jax.datasets.loading import load_arrays as load_arrays, open_records as open_records
from gconv_jax.datasets.mnist import Mnist as Mnist
from gconv_jax.datasets.mnist6 import Mnist6M as Mnist6M, Mnist6180 as Mnist6180
from gconv_jax.datasets.records import Records as Records
from gconv_jax.datasets.rotated_mnist import RotatedMnist as RotatedMnist
from gconv_jax.datasets.rotated_test_mnist import MnistRotatedTest as MnistRotatedTest
