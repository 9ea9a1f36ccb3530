"""Contrast normalization and ZCA whitening, as CIFAR-10 was prepared for All-CNN-C and the G-CNNs.

Goodfellow et al. 2013 (arXiv:1302.4389); Cohen & Welling 2016 (arXiv:1602.07576, section 8.2). The
whitening matrix mixes pixels, so it keeps the law of a network only as far as the training images
have the symmetry themselves.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

WHITENING = "whitening.npz"  # in a run folder
EPSILON = 1e-5
_IMAGES = 1000


@dataclass(frozen=True)
class Whitening:
    """``(z - mean) matrix`` for the contrast-normalized pixels z of an image, in one row."""

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(cls, image: np.ndarray) -> "Whitening":
        """Return the whitening that training images ``[N, H, W, C]`` need.

        With the covariance ``U diag(s) U^T`` of the pixels the matrix is
        ``U diag(1 / sqrt(s + 1e-5)) U^T``, the whitening that changes images least.
        """
        size = int(np.prod(image.shape[1:]))
        total, products = np.zeros(size), np.zeros((size, size))
        for z in _blocks(image):
            total += z.sum(0, dtype=np.float64)
            products += z.T @ z
        mean = total / len(image)
        values, vectors = np.linalg.eigh(products / len(image) - np.outer(mean, mean))
        matrix = (vectors / np.sqrt(np.maximum(values, 0) + EPSILON)) @ vectors.T
        return cls(mean.astype(np.float32), matrix.astype(np.float32))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Images ``[N, H, W, C]`` to float32 of the same shape."""
        out = np.empty(image.shape, np.float32)
        for start, z in zip(range(0, len(image), _IMAGES), _blocks(image), strict=True):
            rows = (z - self.mean) @ self.matrix
            out[start : start + len(z)] = rows.reshape(-1, *image.shape[1:])
        return out

    def whiten(self, image: jax.Array) -> jax.Array:
        """The same as a part of a compiled program, all images at once."""
        rows = normalize_contrast(image, jnp) - self.mean
        return jnp.dot(rows, self.matrix, precision="highest").reshape(image.shape)

    def save(self, path: Path) -> None:
        """Write beside, then rename."""
        beside = path.with_name(f".{path.name}.tmp")
        with beside.open("wb") as file:
            np.savez(file, mean=self.mean, matrix=self.matrix)
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Whitening":
        with np.load(path) as arrays:
            return cls(arrays["mean"], arrays["matrix"])


def normalize_contrast(image, xp=np):
    """``[N, ...]`` to float32 ``[N, values]``, each image with mean 0 and standard deviation 1
    (``N - 1`` in its denominator); an image of one color becomes 0. With ``xp=jax.numpy`` of JAX
    arrays."""
    z = image.reshape(image.shape[0], -1).astype(xp.float32)
    z = z - z.mean(1, keepdims=True)
    deviation = z.std(1, ddof=1, keepdims=True)
    return z / xp.where(deviation > 0, deviation, 1)


def _blocks(image: np.ndarray):
    for start in range(0, len(image), _IMAGES):
        yield normalize_contrast(image[start : start + _IMAGES])
