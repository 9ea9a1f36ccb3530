"""MNIST6: the sixes of MNIST, and the same turned upside down or mirrored, as two classes."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from gconv_jax.datasets._mnist_files import SIDE, read_mnist
from gconv_jax.datasets._raw import obtain
from gconv_jax.datasets.mnist import Mnist

HELD_OUT = 918


class _Mnist6(Mnist, skip_registration=True):
    """A data set of every six of MNIST as it is and changed, which are the two classes."""

    VERSION = tfds.core.Version("1.0.0")
    classes: tuple[str, str]
    description: str
    _held_out = HELD_OUT

    def change(self, image: np.ndarray) -> np.ndarray:
        """Return the images ``[N, 28, 28, 1]`` as the other class has them."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return self._image_info(
            self.description,
            shape=(SIDE, SIDE, 1),
            classes=self.classes,
            homepage="https://arxiv.org/abs/2110.10211",
            citation=(
                "@article{romero2021learning, title={Learning Partial Equivariances from Data}, "
                "author={Romero, David W. and Lohit, Suhas}, journal={arXiv:2110.10211}, "
                "year={2021}}"
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        mnist = read_mnist(self._mnist, obtain(self.raw_files, dl_manager))
        sixes = {split: part["image"][part["label"] == 6] for split, part in mnist.items()}
        if len(sixes["train"]) <= self._held_out:
            raise ValueError(
                f"the training images of MNIST must hold more than {self._held_out} sixes, got "
                f"{len(sixes['train'])}"
            )
        parts = {
            "train": sixes["train"][: -self._held_out],
            "validation": sixes["train"][-self._held_out :],
            "test": sixes["test"],
        }
        return {split: self._generate_examples([self._pairs(x)]) for split, x in parts.items()}

    def _pairs(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return each image and then its change, so that any part of the set is balanced."""
        both = np.stack([image, self.change(image)], 1).reshape(-1, *image.shape[1:])
        return {"image": both, "label": np.tile([0, 1], len(image))}


class Mnist6180(_Mnist6):
    """MNIST6-180: the sixes of MNIST, and the same turned by 180 degrees. TFDS name ``mnist6_180``.

    A network that is invariant under half turns cannot do better than chance; one that looks at
    orientation has an easy task (Romero & Lohit 2021, arXiv:2110.10211). The splits are ``train``
    (2 x 5,000), ``validation`` (2 x 918, the last sixes of MNIST's training images) and ``test``
    (2 x 958). The published experiment has no validation split, and chose by the test images. Both
    copies of a digit are in the same split, one after the other. An example has

      - ``image``: uint8 ``[28, 28, 1]``;
      - ``label``: 0 as it was, 1 turned.

    The builder needs MNIST's four files (see `Mnist`).

    Example:

        >>> builder = Mnist6180()
        >>> builder.info.features["label"].names
        ['upright', 'turned']
    """

    name = "mnist6_180"
    classes = ("upright", "turned")
    description = "The sixes of MNIST, upright and turned by 180 degrees."

    def change(self, image: np.ndarray) -> np.ndarray:
        """Return the images turned by 180 degrees."""
        return image[:, ::-1, ::-1]


class Mnist6M(_Mnist6):
    """MNIST6-M: the sixes of MNIST, and the same mirrored left-right. TFDS name ``mnist6_m``.

    It is `Mnist6180` for reflections: splits, order and features are the same, and label 1 means
    mirrored.

    Example:

        >>> builder = Mnist6M()
        >>> builder.info.features["label"].names
        ['upright', 'mirrored']
    """

    name = "mnist6_m"
    classes = ("upright", "mirrored")
    description = "The sixes of MNIST, as they are and mirrored."

    def change(self, image: np.ndarray) -> np.ndarray:
        """Return the images mirrored left-right."""
        return image[:, :, ::-1]
