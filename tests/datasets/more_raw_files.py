"""Tiny raw files of CIFAR and EMNIST, as `raw_files` has them of MNIST."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from gconv_jax.datasets._cifar10_packed import PackedFiles
from gconv_jax.datasets._cifar_files import CIFAR10_FILES, CIFAR100_FILES, CifarFiles
from gconv_jax.datasets._emnist_files import BALANCED_FILES, EmnistFiles
from gconv_jax.datasets._raw import RawFile
from tests.datasets.raw_files import NOWHERE, idx_bytes, md5

CIFAR = {"cifar10": CIFAR10_FILES, "cifar100": CIFAR100_FILES}
# Five files in train of CIFAR-10: two examples in each.
CIFAR_SIZES = {"train": 10, "test": 4}
PACKED_SIZES = {"train": 7, "test": 3}
STRIPE = 3
EMNIST_SIZES = {"train": 8, "test": 5}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zip_bytes(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            # `ZipInfo` has no time of day: the same bytes whenever they are written.
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def tar_bytes(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), mtime=0)


def tiny_cifar(name: str) -> dict[str, dict[str, np.ndarray]]:
    """`image` uint8 `[n, 32, 32, 3]`, and labels uint8 `[n]` that reach the last class."""
    splits = {}
    for seed, (split, n) in enumerate(CIFAR_SIZES.items()):
        random = np.random.RandomState(seed + len(name))
        splits[split] = {"image": random.randint(0, 256, (n, 32, 32, 3)).astype(np.uint8)}
        for label, classes in CIFAR[name].labels.items():
            values = random.randint(0, len(classes), n)
            values[-1] = len(classes) - 1
            splits[split][label] = values.astype(np.uint8)
    return splits


def cifar_files(name: str) -> dict[str, bytes]:
    """The .bin files by name, byte by byte as the web page of CIFAR describes them."""
    source, files = CIFAR[name], {}
    for split, arrays in tiny_cifar(name).items():
        records = []
        for i, image in enumerate(arrays["image"]):
            labels = bytes(int(arrays[label][i]) for label in source.labels)
            planes = b"".join(image[:, :, channel].tobytes() for channel in range(3))
            records.append(labels + planes)
        members = source.members[split]
        each = len(records) // len(members)
        for k, member in enumerate(members):
            files[member] = b"".join(records[k * each : (k + 1) * each])
    return files


def write_cifar(
    name: str,
    folder: Path,
    *,
    packed: bool = True,
    inside: str = "",
    files: dict[str, bytes] | None = None,
) -> CifarFiles:
    """Write `tiny_cifar` as the archive, or as its files (below `inside`), and describe them."""
    source, files = CIFAR[name], files or cifar_files(name)
    content = tar_bytes({f"{source.archive.folder}/{k}": v for k, v in files.items()})
    (folder / inside).mkdir(exist_ok=True, parents=True)
    if packed:
        (folder / source.archive.name).write_bytes(content)
    else:
        for member, plain in files.items():
            (folder / inside / member).write_bytes(plain)
    archive = RawFile(
        url=f"{NOWHERE}/{source.archive.name}",
        size=f"{len(content)} bytes",
        checksums={"md5": md5(content)},
        unpacked={member: md5(plain) for member, plain in files.items()},
        folder=source.archive.folder,
    )
    return CifarFiles(archive, source.members, CIFAR_SIZES, source.labels)


def tiny_packed() -> dict[str, dict[str, np.ndarray]]:
    splits = {}
    for seed, (split, n) in enumerate(PACKED_SIZES.items()):
        random = np.random.RandomState(seed + 30)
        splits[split] = {
            "image": random.randint(0, 256, (n, 32, 32, 3)).astype(np.uint8),
            "label": random.randint(0, 10, n).astype(np.uint8),
        }
    return splits


def webp_bytes(images: np.ndarray, **kwargs) -> bytes:
    stream = io.BytesIO()
    picture = Image.fromarray(images.reshape(-1, *images.shape[2:]))
    picture.save(stream, "WEBP", lossless=True, **kwargs)
    return stream.getvalue()


def npy_bytes(array: np.ndarray, **kwargs) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **kwargs)
    return stream.getvalue()


def packed_files(split: str) -> dict[str, bytes]:
    """Return the files in the zip of a split, by name, with `STRIPE` images in a picture."""
    arrays = tiny_packed()[split]
    files = {
        f"{i:03d}.webp": webp_bytes(arrays["image"][start : start + STRIPE])
        for i, start in enumerate(range(0, len(arrays["image"]), STRIPE))
    }
    return files | {"labels.npy": npy_bytes(arrays["label"]), "names.txt": b"one name a line"}


def write_packed(folder: Path, *, train: dict[str, bytes] | None = None) -> PackedFiles:
    """Write `tiny_packed`, or other files in its train split, and describe them."""
    folder.mkdir(exist_ok=True)
    files = {}
    for split in PACKED_SIZES:
        content = zip_bytes(train if train and split == "train" else packed_files(split))
        (folder / f"cifar10_{split}.zip").write_bytes(content)
        files[split] = RawFile(
            url=f"cifar10_{split}.zip",
            size=f"{len(content)} bytes",
            checksums={"sha256": sha256(content)},
            unpacked={},
        )
    return PackedFiles(files, PACKED_SIZES)


def tiny_emnist() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images uint8 `[n, 28, 28, 1]` of an upright letter L, and labels uint8 `[n]`."""
    splits = {}
    for seed, (split, n) in enumerate(EMNIST_SIZES.items()):
        random = np.random.RandomState(seed + 40)
        images = np.zeros((n, 28, 28, 1), np.uint8)
        images[:, 4:24, 8:11] = random.randint(1, 256, (n, 20, 3, 1))  # the stem, on the left
        images[:, 21:24, 8:20] = random.randint(1, 256, (n, 3, 12, 1))  # the foot, to the right
        labels = random.randint(0, 47, n)
        labels[-1] = 46
        splits[split] = images, labels.astype(np.uint8)
    return splits


def emnist_files() -> dict[str, bytes]:
    """The four IDX files by name, not gzipped; images column by column."""
    files = {}
    for split, (images, labels) in tiny_emnist().items():
        columns = np.stack([image[:, :, 0].T for image in images])
        for name, array in zip(BALANCED_FILES.members[split], (columns, labels), strict=True):
            files[name.removesuffix(".gz")] = idx_bytes(array)
    return files


def write_emnist(
    folder: Path,
    *,
    packed: bool = True,
    gzipped: bool = True,
    inside: str = "",
    files: dict[str, bytes] | None = None,
) -> EmnistFiles:
    """Write `tiny_emnist` as the zip, or as its files (below `inside`), and describe them."""
    files = files or emnist_files()
    zipped = {f"{name}.gz": gzip.compress(plain, mtime=0) for name, plain in files.items()}
    other = {"emnist-balanced-mapping.txt": b"0 48\n", "emnist-letters-mapping.txt": b"1 65 97\n"}
    content = zip_bytes({f"gzip/{name}": data for name, data in (zipped | other).items()})
    (folder / inside).mkdir(exist_ok=True, parents=True)
    if packed:
        (folder / "gzip.zip").write_bytes(content)
    else:
        for name, data in (zipped if gzipped else files).items():
            (folder / inside / name).write_bytes(data)
    archive = RawFile(
        url=f"{NOWHERE}/gzip.zip",
        size=f"{len(content)} bytes",
        checksums={"md5": md5(content)},
        unpacked={name: sha256(data) for name, data in zipped.items()},
        folder="gzip",
    )
    return EmnistFiles(archive, BALANCED_FILES.members, EMNIST_SIZES, BALANCED_FILES.classes)
