"""The embedded digits: scikit-learn's, rotated."""

import numpy as np

from .splits import Split


def load_digits() -> tuple[Split, Split]:
    """The 1,797 handwritten digits inside scikit-learn, each turned by a random angle: 1,197 to
    train and 600 to test, enlarged from 8 x 8 to 24 x 24 pixels on a 28 x 28 canvas.

    Same images, angles and split for everyone. Digits of one writer may be on both sides of the
    split: a small data set to see a difference with, not a benchmark.
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits as sklearn_digits

    from gconv_jax.datasets import rotate_images

    digits = sklearn_digits()
    small = digits.images / 16.0  # pyright: ignore[reportAttributeAccessIssue]
    large = zoom(small, (1, 3, 3), order=1, grid_mode=True, mode="nearest")
    large = np.rint(255 * np.clip(large, 0, 1)).astype(np.uint8)  # pyright: ignore[reportCallIssue]
    canvas = np.pad(large, ((0, 0), (2, 2), (2, 2)))
    # RandomState is frozen: the same stream in every NumPy.
    random = np.random.RandomState(2016)
    order = random.permutation(len(canvas))
    angles = random.uniform(0, 2 * np.pi, len(canvas))
    image = rotate_images(canvas[order][..., None], angles)
    every = Split(image, digits.target[order].astype(np.int32))  # pyright: ignore[reportAttributeAccessIssue]
    return every[:1197], every[1197:]  # pyright: ignore[reportReturnType]
