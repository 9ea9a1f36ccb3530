"""Image files that no library at hand writes: PNG with 16 bits in color, and FITS."""

import struct
import zlib

import numpy as np


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_sixteen_bits(values: np.ndarray, key: tuple[int, ...] | None = None) -> bytes:
    """A PNG of ``[H, W, C]``, uint16; pixels of the value ``key`` are transparent."""
    height, width, channels = values.shape
    color = {1: 0, 3: 2, 2: 4, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    # Each row as its difference from the one above, for which decoders have to know their bytes.
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1)
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    data = b"".join(b"\2" + row.tobytes() for row in rows - above)
    parts = [png_chunk(b"IHDR", header)]
    if key is not None:
        parts.append(png_chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))
    parts += [png_chunk(b"IDAT", zlib.compress(data)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BITPIX = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}


def fits_unit(values: np.ndarray | None, extension: bool = False, **cards: object) -> bytes:
    """A header and its data, which may be none; the first row of ``values`` is the lowest."""
    shape = () if values is None else values.shape[::-1]
    bits = 8 if values is None else BITPIX[values.dtype.str[1:]]
    axes = {f"NAXIS{i + 1}": n for i, n in enumerate(shape)}
    first = {"XTENSION": "'IMAGE   '"} if extension else {"SIMPLE": "T"}
    every = first | {"BITPIX": bits, "NAXIS": len(shape)} | axes | cards
    lines = [f"{name:8}= {value!s:>20} / ".ljust(80) for name, value in every.items()]
    text = "".join([*lines, "OBJECT  = 'M 31 / Andromeda'".ljust(80), "END".ljust(80)]).encode()
    data = b"" if values is None else values.astype(values.dtype.newbyteorder(">")).tobytes()
    return text + b" " * (-len(text) % 2880) + data + b"\0" * (-len(data) % 2880)
