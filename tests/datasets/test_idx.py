"""`read_idx`: the format as published, and every way in which a file can be wrong."""

import gzip
import re

import chex
import numpy as np
import pytest

from gconv_jax.datasets import read_idx
from tests.datasets.raw_files import idx_bytes


@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 28, 28), (0, 28, 28)])
@pytest.mark.parametrize("packed", [False, True])
def test_reads_what_was_written(tmp_path, shape, packed):
    array = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    content = idx_bytes(array)
    path = tmp_path / "name-without-a-suffix"
    path.write_bytes(gzip.compress(content) if packed else content)
    found = read_idx(path, ndim=len(shape))
    chex.assert_trees_all_equal_shapes_and_dtypes(found, array)
    chex.assert_trees_all_equal(found, array)
    assert found.flags.writeable and found.flags.c_contiguous


def test_values_are_in_c_order_behind_a_big_endian_header(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(bytes.fromhex("00000803 00000001 00000002 00000003 010203040506"))
    chex.assert_trees_all_equal(
        read_idx(path, ndim=3), np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    )


def _wrong(tmp_path, content, message, ndim=1):
    path = tmp_path / "some-file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        read_idx(path, ndim=ndim)


def test_another_number_of_dimensions(tmp_path):
    _wrong(
        tmp_path,
        idx_bytes(np.zeros((2, 3, 3))),
        "magic number 0x00000803 found, 0x00000801 expected (an IDX file of unsigned bytes with "
        "`ndim`=1); if it is the right file, fetch it again",
    )


def test_another_type(tmp_path):
    _wrong(tmp_path, bytes.fromhex("00000d01 00000000"), "magic number 0x00000d01 found")


def test_a_web_page_instead_of_a_file(tmp_path):
    _wrong(tmp_path, b"<html>404", "magic number 0x3c68746d found")


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\0\x08"])
def test_shorter_than_a_magic_number(tmp_path, content):
    _wrong(tmp_path, content, "magic number")


def test_too_few_values(tmp_path):
    _wrong(
        tmp_path,
        idx_bytes(np.zeros(5))[:-1],
        "12 bytes found, 13 expected (a header of 8 and 5 values of shape (5,)); "
        "fetch the file again",
    )


def test_too_many_values(tmp_path):
    _wrong(tmp_path, idx_bytes(np.zeros(5)) + b"\0", "14 bytes found, 13 expected")


def test_a_header_that_ends_early(tmp_path):
    _wrong(tmp_path, idx_bytes(np.zeros((2, 3, 3)))[:9], "9 bytes found", ndim=3)


@pytest.mark.parametrize("keep", [-1, -8, -100, 12])
def test_truncated_gzip(tmp_path, keep):
    values = np.random.RandomState(0).randint(0, 256, 1000)
    content = gzip.compress(idx_bytes(values))
    _wrong(tmp_path, content[:keep], "damaged or truncated gzip file (")


def test_damaged_gzip(tmp_path):
    content = bytearray(gzip.compress(idx_bytes(np.arange(200))))
    content[len(content) // 2] ^= 0xFF
    _wrong(tmp_path, bytes(content), "damaged or truncated gzip file (")


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        read_idx(tmp_path / "absent", ndim=1)
