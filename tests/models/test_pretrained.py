"""Saved networks are the networks, to the last bit."""

import json
import pickle

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gconv_jax import (
    O2,
    P4,
    P4M,
    P6,
    P6M,
    SO2,
    Z2,
    cyclic,
    dihedral,
    full_octahedral,
    klein_four,
    mirror,
    models,
    octahedral,
    rotations_about,
    tetrahedral,
    trivial,
)
from gconv_jax.models import load_pretrained, pretrained_config, save_pretrained
from gconv_jax.models._arguments import decode, encode
from gconv_jax.models._network import NETWORKS, describe
from gconv_jax.models._weights import arrays_of, state_of
from gconv_jax.models.pretrained_folder import CARD
from tests.models.tiny_networks import CASES, made
from tests.train.own_nets import Linen

OTHERS = {"PlainCNN", "EarlyP4CNN", "E2CNN", "AllCNNC", "ResNet44", "ResNet26", "WideResNet"}
"""Networks whose arguments and layers others have as well."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in OTHERS else n for n in CASES]
)
def test_a_saved_network_is_the_network(name, rng, tmp_path):
    model = made(name, rng)
    model.eval()
    loaded = load_pretrained(save_pretrained(model, tmp_path / "saved"))
    assert type(loaded) is type(model) and nnx.graphdef(loaded) == nnx.graphdef(model)
    found, expected = (arrays_of(state_of(of)) for of in (loaded, model))
    assert found.keys() == expected.keys() and len(found) > 0
    for path, array in expected.items():
        assert found[path].dtype == array.dtype and found[path].shape == array.shape
        assert np.asarray(found[path]).tobytes() == np.asarray(array).tobytes(), path
    random = nnx.split(loaded, nnx.RngState, ...)[1]
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(random))


class Own(nnx.Module):
    """A module of a user, with a layer, a random key and a counter."""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        self.linear = nnx.Linear(3, features, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.calls = nnx.Variable(jnp.zeros((), jnp.int32))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dropout(self.linear(x)).mean((1, 2))


def test_the_numbers_of_a_module_of_ones_own_get_into_another(rng, tmp_path):
    model, other = (Own(4, rngs=nnx.Rngs(i)) for i in range(2))
    model.calls[...] = 7
    saved = models.Standardized(models.RescaledOutputs(model, mean=5, std=(1, 2, 3, 4)), mean=0.5)
    path = save_pretrained(saved, tmp_path / "own", classes=("a", "b", "c", "d"))
    before = np.asarray(other.linear.kernel[...])
    loaded = load_pretrained(path, model=other)
    found = loaded.model.model
    assert type(found) is Own and found is not other and int(found.calls[...]) == 7
    np.testing.assert_array_equal(other.linear.kernel[...], before)  # it stays as it is
    x = rng.integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    saved.eval()
    np.testing.assert_array_equal(loaded(x), saved(x))
    card = (path / CARD).read_text()
    assert "| network | `Own` a module of its author |" in card and "train predict" not in card


def test_the_variables_of_a_linen_module_get_into_another(rng, tmp_path):
    """Batch statistics, too; what is loaded is in evaluation mode, and can be trained further."""
    net, x = Linen(num_classes=2), rng.normal(size=(2, 9, 9, 1)).astype(np.float32)
    model = models.LinenModel(net, (9, 9, 1), rngs=nnx.Rngs(0))
    model.train()
    for _ in range(2):
        model(x)  # changes its statistics
    variables = model.variables.values()
    saved = models.Standardized(model, mean=0.5)
    path = save_pretrained(saved, tmp_path / "linen", image_shape=(9, 9, 1))
    card = (path / CARD).read_text()
    assert "| network | `Linen` a module of its author |" in card and "train predict" not in card
    again = load_pretrained(path, model=Linen(num_classes=2))
    np.testing.assert_allclose(again(x + 0.5), net.apply(variables, x), rtol=1e-5)
    found = again.model.variables.values()
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), found, variables))
    again.train()
    assert np.abs(again(x + 0.5) - net.apply(variables, x)).max() > 1e-3


def test_every_network_is_saved():
    assert {name.split()[0] for name in CASES} == set(NETWORKS)
    public = {name for name, value in vars(models).items() if isinstance(value, type)}
    around = {"Symmetrized", "Canonicalized", "ScorePoses"}
    parts = {"TransformerBlock", "ConvNeXtBlock", "LinenModel"}
    assert set(NETWORKS) - around == public - parts


GROUPS = [
    *(Z2, P4, P4M, P6, P6M, SO2(), O2(), cyclic(16), dihedral(1), dihedral(8)),
    *(trivial(1), trivial(3), mirror(1), mirror(3), octahedral(), full_octahedral()),
    *(tetrahedral(), klein_four(), *(rotations_about(axis) for axis in range(3))),
    # Without a name of their own.
    *(P4M.subgroup(5), P6.subgroup(3), P6M.subgroup(2, 7), dihedral(8).subgroup(9)),
    full_octahedral().subgroup(30),
]


def unnamed(value):
    raise AssertionError(f"{value} is no network")


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_groups_are_named(group):
    text = json.dumps(encode(group, unnamed))
    assert decode(json.loads(text), unnamed) == group


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float32, jnp.dtype("float16"), np.float64])
def test_dtypes_are_named(dtype):
    assert decode(json.loads(json.dumps(encode(dtype, unnamed))), unnamed) == jnp.dtype(dtype)


def test_the_logits_are_the_same_to_the_last_bit(folder, rng, tmp_path):
    model = made("Z2CNN", np.random.default_rng(1))
    model = nnx.merge(*nnx.split(load_pretrained(folder), ...))  # with its random keys
    x = jnp.asarray(rng.normal(size=(2, 28, 28, 1)), jnp.float32)
    run = nnx.jit(lambda model, x: model(x))
    expected = np.asarray(run(model, x))
    assert np.abs(expected[0] - expected[1]).max() > 0
    again = load_pretrained(save_pretrained(model, tmp_path / "again"))
    np.testing.assert_array_equal(run(again, x), expected)
    # Dropout is off, until the network is trained further; its random keys come from `rngs`.
    np.testing.assert_array_equal(run(again, x), expected)
    keys = [load_pretrained(folder, rngs=nnx.Rngs(dropout=seed)) for seed in (1, 1, 2)]
    for model in keys:
        model.train()
    dropped = [np.asarray(run(model, x)) for model in keys]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert np.abs(dropped[0] - dropped[2]).max() > 0


def test_the_folder_says_what_is_in_it(folder):
    config, card = pretrained_config(folder), (folder / CARD).read_text()
    assert config["format"] == 1 and config["network"] == "Z2CNN"
    assert config["arguments"]["dropout"] == 0.3, "defaults are kept, too"
    assert config["classes"][3] == "class 3"
    assert config["images"] == {"shape": [28, 28, 1], "range": [-1, 1]}
    assert config["figures"] == {"test error": 0.25} and config["versions"]["gconv_jax"]
    for line in (
        *("# network", "| task | a \\| b |", "| seconds | 3.5 |", "| test error | 0.25 |"),
        "| input | images `[N, 28, 28, 1]` with numbers from -1 to 1 |",
        "| protocol | 600 test images, one seed |",
    ):
        assert line in card.splitlines()


def test_parameters_of_another_dtype_keep_it(rng, tmp_path):
    model = made("P4CNN", rng)
    cast = jax.tree.map(lambda p: p.astype(jnp.bfloat16), nnx.state(model, nnx.Param))
    nnx.update(model, cast)
    loaded = load_pretrained(save_pretrained(model, tmp_path / "half"))
    assert pretrained_config(tmp_path / "half")["param_dtype"] == "bfloat16"
    kernel, before = loaded.layer0.conv.kernel[...], model.layer0.conv.kernel[...]
    assert kernel.dtype == before.dtype == jnp.bfloat16
    assert np.asarray(kernel).tobytes() == np.asarray(before).tobytes()
    assert loaded.layer0.norm.mean[...].dtype == jnp.float32, "a control"


def test_numbers_of_64_bits_need_a_jax_that_has_them(rng, tmp_path, x64):
    model = made("Z2CNN", rng)
    nnx.update(model, jax.tree.map(lambda p: p.astype("f8"), nnx.state(model, nnx.Param)))
    path = save_pretrained(model, tmp_path / "double")
    assert load_pretrained(path).top.kernel[...].dtype == jnp.float64
    enable_x64 = (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64
    expected = pytest.raises(ValueError, match=r"is float64, which JAX has with jax_enable_x64$")
    with enable_x64(False), expected:
        load_pretrained(path)


def test_what_a_network_remembers_disturbs_nothing():
    def make(**options):
        return nnx.eval_shape(lambda: models.P4CNN(width=1, **options, rngs=nnx.Rngs(0)))

    a, b, other = make(), make(), make(classes=3)
    assert nnx.graphdef(a) == nnx.graphdef(b) != nnx.graphdef(other)
    assert hash(nnx.graphdef(a)) == hash(nnx.graphdef(b))
    assert describe(nnx.clone(a)) == describe(pickle.loads(pickle.dumps(a))) == describe(a)
    assert describe(nnx.merge(*nnx.split(other)))["arguments"]["classes"] == 3
    assert describe(nnx.eval_shape(lambda m: m, other)) == describe(other)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        make(colour="red")


def test_networks_of_stored_pixels(rng, tmp_path):
    """The preparation is that of the formulas, on bytes and on numbers in [0, 1]."""
    inner = made("Z2CNN", rng)
    stored = rng.integers(0, 256, (3, 28, 28, 1)).astype(np.uint8)
    seen = []
    model = models.Standardized(lambda x: seen.append(np.asarray(x)), mean=(0.25,), std=0.5)
    model(stored)
    model(stored.astype(np.float32) / 255)
    expected = (stored.astype(np.float64) / 255 - 0.25) / 0.5
    assert all(np.abs(x - expected).max() < 1e-6 and x.dtype == np.float32 for x in seen)
    white = models.Whitened(inner, image_shape=(28, 28, 1))
    assert parameters_of(white) == parameters_of(inner), "what whitens is no parameter"
    with pytest.raises(ValueError, match=r"`x` must be images \[N, 28, 28, 1\], got shape"):
        white(stored[:, 1:])
    with pytest.raises(ValueError, match=r"`image_range` is \(0, 1\) for networks of stored pix"):
        save_pretrained(models.Standardized(inner), tmp_path / "x", image_range=(0, 255))
    with pytest.raises(ValueError, match=r"`std` must be positive, got 0$"):
        models.Standardized(inner, std=0)
    three = models.RescaledOutputs(inner, std=[1, 2, 3])
    with pytest.raises(ValueError, match=r"`std` must be one number, or one for each of 2 `cl"):
        save_pretrained(three, tmp_path / "x", classes=["a", "b"])
    for wrong in (float("nan"), "x", True, ["1"], {}, []):
        with pytest.raises(
            ValueError, match=r"`mean` must be a finite number, or one for each channel"
        ):
            models.Standardized(inner, mean=wrong)


def parameters_of(model) -> int:
    return sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
