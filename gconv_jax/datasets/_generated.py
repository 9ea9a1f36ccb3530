"""The generated rotated digits: the draw of digits and angles, and the rotation."""

from collections.abc import Iterator

import numpy as np

from gconv_jax.datasets._rotate import rotate_images

# Part of the definition of the data set: another seed is another data set.
SEED = 2007
_BLOCK = 1000


def draw_angles(random: np.random.RandomState, count: int) -> np.ndarray:
    """Draw angles uniform in [0, 2 pi): float32 ``[count]``."""
    # The angles are rounded before use, so that the stored ones are those of the rotation.
    return (random.random_sample(count) * (2 * np.pi)).astype(np.float32)


def draw_rotations(pool: int, count: int, *, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """Draw digits without replacement, and for each an angle uniform in [0, 2 pi).

    `numpy.random.RandomState` is used since its stream is frozen: it is the same in every NumPy.

    Args:
        pool: the number of digits to draw from.
        count: the number of digits to draw, at most ``pool``.
        seed: the seed of the stream.

    Returns:
        The indices of the digits in the pool, int64 ``[count]``, and the angles in radians, float32
        ``[count]``.

    Raises:
        ValueError: ``count`` is larger than ``pool``.

    Example:

        >>> index, angle = draw_rotations(10, 3, seed=0)
        >>> index
        array([2, 8, 4])
    """
    if count > pool:
        raise ValueError(f"`count` must be at most `pool`={pool}, got {count}")
    random = np.random.RandomState(seed)
    index = random.permutation(pool)[:count].astype(np.int64)
    return index, draw_angles(random, count)


def rotate_blocks(
    images: np.ndarray, angle: np.ndarray, **columns: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    """Yield blocks of ``image`` (each turned by its ``angle``), ``angle`` and ``columns``."""
    for at in range(0, len(images), _BLOCK):
        part = slice(at, at + _BLOCK)
        turned = {"image": rotate_images(images[part], angle[part]), "angle": angle[part]}
        yield turned | {name: column[part] for name, column in columns.items()}


def generate(
    images: np.ndarray, labels: np.ndarray, sizes: dict[str, int]
) -> dict[str, Iterator[dict[str, np.ndarray]]]:
    """Return blocks of ``image``, ``label``, ``angle`` and ``index`` by split, made on demand.

    Args:
        images: the upright digits, uint8 ``[N, H, W, C]``.
        labels: their labels ``[N]``.
        sizes: the number of examples by split. The splits follow each other in one draw, so that no
            digit is in two.
    """
    index, angle = draw_rotations(len(images), sum(sizes.values()))
    splits, start = {}, 0
    for split, size in sizes.items():
        part = slice(start, start + size)
        drawn = index[part]
        splits[split] = rotate_blocks(images[drawn], angle[part], label=labels[drawn], index=drawn)
        start += size
    return splits
