"""Read IDX files, the format in which MNIST was published."""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def read_idx(path: str | os.PathLike[str], *, ndim: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not.

    The file has two zero bytes, a type code (8 for unsigned bytes), the number of dimensions, each
    size as a big-endian 32-bit integer, and then the values in C order. Its first two bytes say
    whether it is gzipped, not its name.

    Args:
        path: the file.
        ndim: the number of dimensions it must have (3 for MNIST's images, 1 for its labels).

    Returns:
        A uint8 array with the sizes in the header, C-contiguous and writeable.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the gzip stream is damaged, the magic number is another, or there are fewer or
            more bytes than the header says. The message names the file.

    Example:

        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "labels-idx1-ubyte")
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
        ...     read_idx(path, ndim=1)
        array([5, 0, 4], dtype=uint8)

    Reference: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
    """
    return decode_idx(Path(path).read_bytes(), ndim=ndim, where=os.fspath(path))


def decode_idx(content: bytes, *, ndim: int, where: str) -> np.ndarray:
    """Read an IDX file in memory like `read_idx`; messages call it ``where``."""
    content = _unzipped(content, where)
    found = int.from_bytes(content[:4], "big")
    expected = _UNSIGNED_BYTE << 8 | ndim
    if len(content) < 4 or found != expected:
        raise ValueError(
            f"{where}: magic number 0x{found:08x} found, 0x{expected:08x} expected (an IDX file of "
            f"unsigned bytes with `ndim`={ndim}); if it is the right file, fetch it again"
        )
    header = 4 + 4 * ndim
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    size = math.prod(shape)
    if len(content) != header + size:
        raise ValueError(
            f"{where}: {len(content)} bytes found, {header + size} expected (a header of {header} "
            f"and {size} values of shape {shape}); fetch the file again"
        )
    # The copy can be written to, and does not hold on to the header.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _unzipped(content: bytes, where: str) -> bytes:
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{where}: damaged or truncated gzip file ({error}); fetch the file again"
        ) from error
