"""`read_members`: from files, a zip or a tar.gz; archives that are damaged or hold other files."""

import re

import pytest

from gconv_jax.datasets._archive import read_members
from tests.datasets.more_raw_files import tar_bytes, zip_bytes

FILES = {"set/b.bin": b"second", "set/a.bin": bytes(range(256)) * 50, "set/readme": b"text"}
WRITERS = {"zip": zip_bytes, "tar.gz": tar_bytes}


def _archive(tmp_path, kind, files=FILES, change=lambda content: content):
    path = tmp_path / "name-without-a-suffix"
    path.write_bytes(change(WRITERS[kind](files)))
    return path


@pytest.mark.parametrize("kind", WRITERS)
def test_files_are_found_in_any_folder_and_given_in_the_order_asked_for(tmp_path, kind):
    path = _archive(tmp_path, kind)
    first, second = read_members((path,), ["a.bin", "b.bin"])
    assert first == (f"{path}: a.bin", FILES["set/a.bin"])
    assert second == (f"{path}: b.bin", b"second")


def test_files_on_disk(tmp_path):
    paths = tuple(tmp_path / name for name in ("b.bin", "a.bin"))
    for path in paths:
        path.write_bytes(path.name.encode())
    found = read_members(paths, ["a.bin.gz", "b.bin"])
    assert found == [(str(paths[1]), b"a.bin"), (str(paths[0]), b"b.bin")]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("files", [{"other": b""}, {"one/a.bin": b"1", "two/a.bin": b"2"}])
def test_not_exactly_one_of_the_name(tmp_path, kind, files):
    path = _archive(tmp_path, kind, files)
    message = f"{path}: exactly one a.bin expected in the archive, which holds {list(files)}; "
    with pytest.raises(ValueError, match=re.escape(message)):
        read_members((path,), ["a.bin"])


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("keep", [3, 20, 0.3, 0.7])
def test_a_truncated_archive(tmp_path, kind, keep):
    def truncate(content):
        return content[: int(keep if keep > 1 else keep * len(content))]

    path = _archive(tmp_path, kind, change=truncate)
    with pytest.raises(ValueError, match=re.escape(f"{path}: damaged or truncated {kind} (")):
        read_members((path,), ["a.bin"])


@pytest.mark.parametrize("kind", WRITERS)
def test_a_damaged_archive(tmp_path, kind):
    def damage(content):
        middle = len(content) // 3
        return content[:middle] + bytes(30) + content[middle + 30 :]

    path = _archive(tmp_path, kind, change=damage)
    with pytest.raises(ValueError, match=re.escape(f"{path}: damaged or truncated {kind} (")):
        read_members((path,), ["a.bin"])


def test_a_web_page_instead_of_an_archive(tmp_path):
    path = tmp_path / "archive.zip"
    path.write_bytes(b"<html>404")
    with pytest.raises(ValueError, match="damaged or truncated"):
        read_members((path,), ["a.bin"])
