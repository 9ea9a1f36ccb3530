"""Tiny raw files in the published formats, described so that the builders take them."""

import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from gconv_jax.datasets._larochelle import LAROCHELLE_FILES, LarochelleFiles
from gconv_jax.datasets._mnist_files import MnistFiles
from gconv_jax.datasets._raw import RawFile

# Nothing listens on port 9, so files that are not on disk cannot be had.
NOWHERE = "http://127.0.0.1:9"
MNIST_SIZES = {"train": 9, "test": 5}
GENERATED_SIZES = {"train": 6, "test": 5}
AMAT_SIZES = {"train": 7, "test": 4}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def digits(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 `[n, 28, 28, 1]` with a margin like MNIST's, and labels uint8 `[n]`."""
    random = np.random.RandomState(seed)
    images = np.zeros((n, 28, 28, 1), np.uint8)
    images[:, 4:24, 4:24] = random.randint(0, 256, (n, 20, 20, 1))
    return images, random.randint(0, 10, n).astype(np.uint8)


def tiny_mnist() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {split: digits(n, seed) for seed, (split, n) in enumerate(MNIST_SIZES.items())}


def write_mnist(folder: Path, *, packed: bool = True, url: str = NOWHERE) -> MnistFiles:
    """Write `tiny_mnist` as four IDX files, gzipped or not, and describe them."""
    folder.mkdir(exist_ok=True)
    files = {}
    for split, arrays in tiny_mnist().items():
        for kind, array in zip(("images", "labels"), arrays, strict=True):
            name = f"{split}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
            plain = idx_bytes(array[..., 0] if kind == "images" else array)
            zipped = gzip.compress(plain, mtime=0)
            (folder / (f"{name}.gz" if packed else name)).write_bytes(zipped if packed else plain)
            files[f"{split}_{kind}"] = RawFile(
                url=f"{url}/{name}.gz",
                size=f"{len(zipped)} bytes",
                checksums={"md5": md5(zipped)},
                unpacked={name: md5(plain)},
            )
    return MnistFiles(files, MNIST_SIZES)


def tiny_amat() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images float32 `[n, 28, 28, 1]` in [0, 1] with a digit's handedness, and labels `[n]`."""
    splits = {}
    for seed, (split, n) in enumerate(AMAT_SIZES.items()):
        random = np.random.RandomState(seed + 10)
        image = random.random_sample((n, 28, 28, 1)).round(6).astype(np.float32)
        splits[split] = image, random.randint(0, 10, n)
    return splits


def amat_text(images: np.ndarray, labels: np.ndarray) -> str:
    """Return the text that MATLAB writes: an image column by column, then the label, as floats."""
    rows = np.concatenate([images[..., 0].transpose(0, 2, 1).reshape(-1, 784), labels[:, None]], 1)
    return "".join(" ".join(f"{x:.16g}" for x in row) + "\n" for row in rows)


def write_larochelle(folder: Path, *, packed: bool = True, url: str = NOWHERE) -> LarochelleFiles:
    """Write `tiny_amat` as the zip or as its two files, and describe them."""
    folder.mkdir(exist_ok=True)
    members = LAROCHELLE_FILES.members
    texts = {members[split]: amat_text(*arrays) for split, arrays in tiny_amat().items()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in texts.items():
            # `ZipInfo` has no time of day: the same bytes whenever they are written.
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    content = stream.getvalue()
    if packed:
        (folder / "mnist_rotation_new.zip").write_bytes(content)
    else:
        for name, text in texts.items():
            (folder / name).write_text(text)
    archive_file = RawFile(
        url=f"{url}/mnist_rotation_new.zip",
        size=f"{len(content)} bytes",
        checksums={"md5": md5(content)},
        unpacked=dict.fromkeys(texts),
    )
    return LarochelleFiles(archive_file, members, AMAT_SIZES)
