"""The pictures of images with more channels than a screen has colors, and of volumes."""

import numpy as np


def projected(image: np.ndarray) -> np.ndarray:
    """Return images ``[N, H, W, C]`` as they are, and volumes ``[N, D, H, W, C]`` as their maxima
    along the depth."""
    return image.max(1) if image.ndim == 5 else image


def shown_channels(image: np.ndarray) -> np.ndarray:
    """Return images ``[..., C]`` with one channel or three: the mean of two channels, or the first
    three of more."""
    count = image.shape[-1]
    if count in (1, 3):
        return image
    return image.mean(-1, keepdims=True).astype(image.dtype) if count == 2 else image[..., :3]
