"""Read IDX files, the format in which MNIST was published."""

import gzip
import math
import os
import pathlib
import zlib

import numpy as np

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def read_idx(path: str | os.PathLike[str], *, ndim: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not.

    The file is: two zero bytes, a type code (8 = unsigned byte), the number of dimensions, each
    size as a big-endian 32-bit integer, then the values in C order. Whether it is gzipped is seen
    from its first two bytes, not from its name.

    Args:
      path: the file.
      ndim: the number of dimensions it must have (3 for MNIST's images, 1 for its labels).

    Returns:
      uint8 array of the sizes in the header, C-contiguous and writeable.

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
    return decode_idx(pathlib.Path(path).read_bytes(), ndim=ndim, where=os.fspath(path))


def decode_idx(content: bytes, *, ndim: int, where: str) -> np.ndarray:
    """`read_idx` of a file in memory; `where` is what the messages call it."""
    content = _unzipped(content, where)
    found = int.from_bytes(content[:4], "big")
    expected = _UNSIGNED_BYTE << 8 | ndim
    if len(content) < 4 or found != expected:
        raise ValueError(
            f"{where}: magic number 0x{found:08x} found, 0x{expected:08x} expected (an IDX file of "
            f"unsigned bytes with `ndim`={ndim}). Is it the right file? If so, fetch it again."
        )
    header = 4 + 4 * ndim
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    size = math.prod(shape)
    if len(content) != header + size:
        raise ValueError(
            f"{where}: {len(content)} bytes found, {header + size} expected (a header of {header} "
            f"and {size} values of shape {shape}). Fetch the file again."
        )
    # A copy, so that the result can be written to and does not hold on to the header.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _unzipped(content: bytes, where: str) -> bytes:
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{where}: damaged or truncated gzip file ({error}). Fetch the file again."
        ) from error
