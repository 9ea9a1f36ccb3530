"""Files of volumes to the voxels that a network was trained on.

This needs NumPy alone. ``python -m train export`` writes a copy of it beside each network for
volumes, with that of `brightness`, as ``read_volume.py``: another program then reads volumes as the
network knows them.
"""

import os
from collections.abc import Sequence

import numpy as np

from gconv_jax.export.brightness import eight_bits, limits


def read_volume(
    path: str | os.PathLike | np.ndarray,
    size: Sequence[int],
    ink: str = "light",
    *,
    range: str | Sequence[float] | None = None,
    depth: str = "any",
    block: int | None = None,
) -> np.ndarray:
    """Return the voxels of a volume for a network: uint8 ``[D, H, W, C]``.

    The volume is put in the middle of the size, on the median of its surface. It keeps its scale,
    or each block of ``block^3`` voxels becomes one, their mean, which the 24 rotations of a cube
    leave the same. Voxels that are not finite become 0, or 255 for ``inf``.

    Args:
        path: a ``.npy`` file with ``[D, H, W]`` or ``[D, H, W, C]``, or such an array.
        size: ``(D, H, W, C)``; no side of the volume is longer than it, times ``block``.
        ink: ``"dark"`` inverts the volume, ``"light"`` and ``"auto"`` leave it as it is.
        range: the brightness that becomes 0 and the one that becomes 255; ``"each"`` takes them
            from the volume itself (`gconv_jax.export.brightness.limits`). By default 8 bits stay as
            they are, and others are scaled by the full range of 8 or 16 bits.
        depth: ``"8"`` refuses volumes of more than 8 bits, ``"deeper"`` those of 8.
        block: the side of the blocks, in voxels; by default 1.

    Raises:
        ValueError: the file cannot be read, or is no such volume; the message says why.

    >>> pixels = read_volume(np.ones((2, 4, 4)), (4, 4, 4, 1), range=(0, 1))
    >>> pixels.shape, int(pixels.min())
    ((4, 4, 4, 1), 255)
    """
    if len(size) != 4:
        raise ValueError(f"`size` must be (depth, height, width, channels), got {tuple(size)}")
    if ink not in ("auto", "light", "dark"):
        raise ValueError(f"`ink` must be auto, light or dark, got {ink!r}")
    block = 1 if block is None else block
    whole = (*(block * side for side in size[:3]), size[3])
    try:
        voxels = _with_channel(_stored(path), whole)
        _require_depth(voxels.dtype, depth)
        voxels = eight_bits(voxels, limits(voxels) if range == "each" else range)
    except FileNotFoundError:
        raise ValueError(f"no such file: {path}") from None
    except Exception as error:  # NumPy raises whatever a damaged file makes of it
        what = "an array" if isinstance(path, np.ndarray) else path
        raise ValueError(f"cannot read {what} as a volume: {_reason(error)}") from None
    if ink == "dark":
        voxels = 255 - voxels
    return _averaged(_placed(voxels, whole), block)


def _stored(path: str | os.PathLike | np.ndarray) -> np.ndarray:
    if isinstance(path, np.ndarray):
        return path
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("it is no .npy file, which numpy.save writes")
        file.seek(0)
        return np.load(file, allow_pickle=False)


def _with_channel(stored: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    *sides, channels = size
    if stored.dtype.kind not in "biuf":
        raise ValueError(f"its numbers must be integers or floating-point, not {stored.dtype}")
    if stored.ndim not in (3, 4) or 0 in stored.shape:
        raise ValueError(f"it must be [D, H, W] or [D, H, W, C], and is {list(stored.shape)}")
    if stored.ndim == 3:
        stored = stored[..., None]
    if stored.shape[-1] != channels:
        raise ValueError(f"it has {stored.shape[-1]} channels, and the network takes {channels}")
    if any(own > most for own, most in zip(stored.shape, sides, strict=False)):
        shapes = [" x ".join(map(str, of)) for of in (stored.shape[:3], sides)]
        raise ValueError(f"it is of {shapes[0]} voxels, and the network takes {shapes[1]} at most")
    return stored


def _require_depth(dtype: np.dtype, depth: str) -> None:
    if depth == ("8" if dtype not in (np.uint8, bool) else "deeper"):
        given, trained = ("8", "more") if depth == "deeper" else ("more than 8", "8")
        raise ValueError(
            f"it has {given} bits a voxel, and the volumes of the training had {trained}: convert "
            "it as those were, or train with --range LOW HIGH or --range each"
        )


def _placed(voxels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the voxels in the middle of the size, on the median of their surface."""
    if voxels.shape == size:
        return voxels
    faces = [np.take(voxels, end, axis) for axis in (0, 1, 2) for end in (0, -1)]
    surface = np.concatenate([face.reshape(-1, size[-1]) for face in faces])
    ground = np.rint(np.median(surface, axis=0)).astype(np.uint8)
    placed = np.broadcast_to(ground, size).copy()
    starts = [(whole - own) // 2 for whole, own in zip(size[:3], voxels.shape[:3], strict=True)]
    inside = tuple(slice(s, s + n) for s, n in zip(starts, voxels.shape[:3], strict=True))
    placed[inside] = voxels
    return placed


def _averaged(voxels: np.ndarray, block: int) -> np.ndarray:
    """Return the mean of each block, rounded."""
    if block == 1:
        return voxels
    d, h, w, channels = voxels.shape
    shape = (d // block, block, h // block, block, w // block, block, channels)
    return np.rint(voxels.reshape(shape).mean((1, 3, 5))).astype(np.uint8)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
