"""The pictures of images with more channels than a screen has colors."""

import numpy as np


def shown_channels(image: np.ndarray) -> np.ndarray:
    """Return images ``[..., C]`` with one channel or three: the mean of two channels, or the first
    three of more."""
    count = image.shape[-1]
    if count in (1, 3):
        return image
    return image.mean(-1, keepdims=True).astype(image.dtype) if count == 2 else image[..., :3]
