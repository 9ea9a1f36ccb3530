"""A checkpoint comes back bit for bit, or is recognised as damaged."""

import json
import marshal
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gconv_jax
from train.checkpoint import Checkpoints, CorruptCheckpointError, Moment, load_tree, save_tree


def make_tree(seed: int):
    x = jax.random.normal(jax.random.key(seed), (300, 7))
    params = {"a": {"kernel": x, "half": x.astype(jnp.bfloat16)}, "b": x[0]}
    return params, optax.adam(1e-3).init(params), jnp.int32(seed)


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_round_trip_is_bitwise(tmp_path):
    tree = make_tree(1)
    save_tree(tmp_path / "x", tree)
    restored = load_tree(tmp_path / "x", make_tree(2))
    chex.assert_trees_all_equal_shapes_and_dtypes(restored, tree)
    chex.assert_trees_all_equal(restored, tree)
    save_tree(tmp_path / "x", make_tree(3))  # replaces
    chex.assert_trees_all_equal(load_tree(tmp_path / "x", tree), make_tree(3))


def test_the_newest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep=2)
    assert checkpoints.restore(lambda _: make_tree(0)) is None
    for number in (1, 2, 10):
        checkpoints.save(Moment(number), make_tree(number))
    assert checkpoints.moments() == [Moment(2), Moment(10)]
    moment, tree = checkpoints.restore(lambda _: make_tree(0))
    assert moment == Moment(10)
    chex.assert_trees_all_equal(tree, make_tree(10))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGE = {
    "bit": lambda folder: flip_a_bit(largest_file(folder / "arrays")),
    "cut": lambda folder: largest_file(folder / "arrays").write_bytes(b"short"),
    "missing file": lambda folder: largest_file(folder / "arrays").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "manifest cut": lambda folder: (folder / "manifest.json").write_text('{"a": '),
    "manifest not text": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\x00"),
    "manifest not a table": lambda folder: (folder / "manifest.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, damage):
    checkpoints, said = Checkpoints(tmp_path), []
    for number in (1, 2):
        checkpoints.save(Moment(number), make_tree(number))
    DAMAGE[damage](tmp_path / "000002")
    moment, tree = checkpoints.restore(lambda _: make_tree(0), warn=said.append)
    assert moment == Moment(1)
    chex.assert_trees_all_equal(tree, make_tree(1))
    assert len(said) == 1 and "the checkpoint of epoch 2 is damaged" in said[0]
    DAMAGE[damage](tmp_path / "000001")
    assert checkpoints.restore(lambda _: make_tree(0), warn=said.append) is None
    assert "none is left: starting again" in said[-1]
    checkpoints.save(Moment(1), make_tree(5))  # a run that starts again is not kept from saving
    assert checkpoints.moments() == [Moment(1)]
    DAMAGE[damage](tmp_path / "000001")
    with pytest.raises(CorruptCheckpointError):
        load_tree(tmp_path / "000001", make_tree(0))


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(Moment(1), make_tree(1))
    (tmp_path / ".000002.tmp").mkdir()  # what a kill while writing leaves
    assert checkpoints.restore(lambda _: make_tree(0))[0] == Moment(1)
    checkpoints.save(Moment(2), make_tree(2))
    assert checkpoints.restore(lambda _: make_tree(0))[0] == Moment(2)


def test_another_network_is_not_a_damaged_one(tmp_path):
    save_tree(tmp_path / "x", {"a": np.zeros(3)})
    for other in ({"a": np.zeros(4)}, {"b": np.zeros(3)}, {"a": np.zeros(3), "b": np.zeros(3)}):
        with pytest.raises(ValueError, match="was written by a network of another shape"):
            load_tree(tmp_path / "x", other)


def test_the_manifest_says_what_wrote_it_and_a_later_format_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path, about={"config": {"model": "p4cnn"}})
    checkpoints.save(Moment(1), make_tree(1))
    path = tmp_path / "000001" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["format"] == 1 and manifest["gconv_jax"] == gconv_jax.__version__
    assert manifest["about"] == {"config": {"model": "p4cnn"}}
    del manifest["format"], manifest["gconv_jax"], manifest["about"]  # as they once were
    path.write_text(json.dumps(manifest))
    chex.assert_trees_all_equal(checkpoints.restore(lambda _: make_tree(0))[1], make_tree(1))
    path.write_text(json.dumps(manifest | {"format": 2, "gconv_jax": "9.9"}))
    with pytest.raises(ValueError, match=r"written by gconv_jax 9.9 in format 2; this version"):
        checkpoints.restore(lambda _: make_tree(0))


def test_no_code_is_loaded(tmp_path, monkeypatch):
    save_tree(tmp_path / "x", make_tree(1))
    for module in (pickle, marshal):
        for name in ("load", "loads"):
            monkeypatch.setattr(module, name, lambda *_: pytest.fail("code may be loaded by this"))
    chex.assert_trees_all_equal(load_tree(tmp_path / "x", make_tree(0)), make_tree(1))
