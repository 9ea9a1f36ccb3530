"""MNIST to train upright on and to test rotated on, as a TFDS builder without TensorFlow."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from gconv_jax.datasets._generated import SEED, draw_angles, rotate_blocks
from gconv_jax.datasets._mnist_files import read_mnist
from gconv_jax.datasets._raw import obtain
from gconv_jax.datasets.mnist import Mnist


# It is no config of `mnist`: with configs the prepared set of `Mnist` would have another place.
class MnistRotatedTest(Mnist):
    """MNIST with its test digits turned, to test networks on rotations that they never saw.

    Its TFDS name is ``mnist_rotated_test``, in `load_arrays` it is ``mnist/rotated_test``. The
    splits are ``train`` (60,000, upright) and ``test`` (10,000, each turned by an angle uniform in
    [0, 2 pi)), in MNIST's order. An example has

      - ``image``: uint8 ``[28, 28, 1]``;
      - ``label``: the digit, 0 to 9;
      - ``angle``: float32, radians in [0, 2 pi), counter-clockwise as displayed; 0 in ``train``. So
        ``image`` is ``rotate_images(mnist_image, angle)`` in both splits.

    The angles are drawn with a fixed seed and the images turned in integer arithmetic, so it has
    the same bytes on every machine. The literature has no fixed draw of its own: results on this
    one compare with results on others up to the chance of the angles.

    The builder needs MNIST's four files (see `Mnist`).

    Example (see `load_arrays` for all of it as arrays in one call):

        >>> builder = MnistRotatedTest()
        >>> sorted(builder.info.features)
        ['angle', 'image', 'label']
        >>> builder.download_and_prepare()  # doctest: +SKIP
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return self._mnist_info(
            "MNIST, the test digits each turned by an angle uniform in [0, 2 pi).",
            more={"angle": tfds.features.Scalar(np.float32)},
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        mnist = read_mnist(self._mnist, obtain(self.raw_files, dl_manager))
        train, test = mnist["train"], mnist["test"]
        upright = train | {"angle": np.zeros(len(train["label"]), np.float32)}
        angle = draw_angles(np.random.RandomState(SEED), len(test["label"]))
        turned = rotate_blocks(test["image"], angle, label=test["label"])
        return {
            "train": self._generate_examples([upright]),
            "test": self._generate_examples(turned),
        }
