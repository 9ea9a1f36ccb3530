"""Saved networks are the networks, and what is no such folder is refused by name."""

import hashlib
import json
import pickle
import shutil
import struct

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
    Fields,
    Harmonic,
    MultiplicativeFilters,
    Siren,
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
from gconv_jax.models.pretrained_folder import CARD, CONFIG, WEIGHTS
from gconv_jax.nnx import Canonicalized, Symmetrized

CASES = {
    "Z2CNN": lambda of, **o: of(width=2, **o),
    "P4CNN": lambda of, **o: of(group=dihedral(2), width=(2, 2, 2, 2, 2, 3), **o),
    "P4CNN relaxed": lambda of, **o: of(filter_banks=2, width=2, **o),
    "P4CNNRotationPooling": lambda of, **o: of(group=P4M.subgroup(5), width=2, **o),
    "LeNet": lambda of, **o: of(widths=(1, 2), hidden=3, **o),
    "GroupEquivariantCNN": lambda of, **o: of(group=P4, **o),
    "MixedGroupCNN": lambda of, **o: of(groups=[P4M, P4M, P4, Z2], widths=2, **o),
    "EarlyP4CNN": lambda of, **o: of(widths=2, **o),
    "PlainCNN": lambda of, **o: of(widths=2, **o),
    "SeparableCNN": lambda of, **o: of(group=cyclic(2), separable="g", width=2, **o),
    "SmallE2CNN": lambda of, **o: of(groups=(dihedral(8), cyclic(8)), width=1, dropout=0.1, **o),
    "E2CNN": lambda of, **o: of(width=1, filters=Harmonic(sigma=0.5), **o),
    "AllCNNC": lambda of, **o: of(group=mirror(), widths=2, **o),
    "ResNet": lambda of, **o: of(
        group=rotations_about(0), blocks=1, widths=2, separable="gc", head="published", **o
    ),
    "ResNet44": lambda of, **o: of(group=P6, blocks=1, widths=1, geometry="published", **o),
    "ResNet26": lambda of, **o: of(blocks=1, widths=1, **o),
    "WideResNet": lambda of, **o: of(groups=(P4M, mirror()), depth=10, widen=1, **o),
    "DenseNet": lambda of, **o: of(blocks=(1, 1), growth=2, **o),
    "GroupViT": lambda of, **o: of(
        width=32, depth=1, heads=1, positions="relative", image_size=32, drop_path=0.1, **o
    ),
    "GroupConvNeXt": lambda of, **o: of(widths=(8, 8), depths=(1, 1), **o),
    "UNet": lambda of, **o: of(width=2, depth=1, in_fields=Fields(vectors=1), **o),
    "GroupUNet": lambda of, **o: of(
        group=octahedral(), width=8, multipliers=(1,), blocks=1, attention=(), dropout=0.2, **o
    ),
    "VoxelCNN": lambda of, **o: of(widths=1, group=klein_four(), **o),
    "CKResNet": lambda of, **o: of(
        group=O2(), width=2, samples=4, partial=True, kernel_network=Siren(hidden=2), **o
    ),
    "PartialGCNN13": lambda of, **o: of(
        width=1, samples=2, kernel_network=MultiplicativeFilters(2, 2), dtype="bfloat16", **o
    ),
    "Augerino": lambda of, **o: of(models.LeNet(widths=1, hidden=2, **o), copies=2, **o),
    "Standardized": lambda of, **o: of(models.Z2CNN(width=1, **o), mean=np.float32(0.5), std=(2,)),
    "Whitened": lambda of, **o: of(models.LeNet(widths=1, hidden=2, **o), image_shape=[2, 3, 1]),
    "Symmetrized": lambda of, **o: of(models.Z2CNN(width=1, **o), group=P4M, sequential=True),
}


def made(name: str, rng) -> nnx.Module:
    """Return a tiny network with random numbers, which nothing is compiled for."""
    kind = NETWORKS[name.split()[0]]
    model = nnx.eval_shape(lambda: CASES[name](kind, rngs=nnx.Rngs(0)))
    state = jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype), state_of(model)
    )
    nnx.update(model, state)
    return model


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


def test_every_network_is_saved():
    assert {name.split()[0] for name in CASES} == set(NETWORKS)
    public = {name for name, value in vars(models).items() if isinstance(value, type)}
    assert set(NETWORKS) - {"Symmetrized"} == public - {"TransformerBlock", "ConvNeXtBlock"}


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


def small(**options) -> models.Z2CNN:
    return nnx.eval_shape(lambda: models.Z2CNN(width=1, rngs=nnx.Rngs(0), **options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved network with random numbers."""
    path = tmp_path_factory.mktemp("saved") / "network"
    return save_pretrained(
        made("Z2CNN", np.random.default_rng(1)),
        path,
        classes=[f"class {i}" for i in range(10)],
        image_shape=(28, 28, 1),
        image_range=(-1, 1),
        figures={"test error": 0.25},
        protocol="600 test images, one seed",
        about={"task": "a | b", "seconds": 3.5, "list": [1]},
    )


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


def attention(*args):
    """No attention at all."""


def test_what_a_file_cannot_name_is_refused(tmp_path):
    class Own(models.Z2CNN):
        """A user's own network."""

    vit = nnx.eval_shape(
        lambda: models.GroupViT(
            width=8, depth=1, heads=1, positions=None, attention_fn=attention, rngs=nnx.Rngs(0)
        )
    )
    chosen = Canonicalized(small(), attention, group=P4)
    cases = {
        "must be a network of gconv_jax.models, got Own, whose": Own(width=1, rngs=nnx.Rngs(0)),
        "must be a network of gconv_jax.models, got Linear, whose": nnx.Linear(
            1, 1, rngs=nnx.Rngs(0)
        ),
        "`attention_fn` of GroupViT is or has a value of the type function, which": vit,
        "`model` of Standardized is or has a value of the type Canonicalized": models.Standardized(
            chosen
        ),
        "`input_action` of Symmetrized is or has a value of the type func": Symmetrized(
            small(), group=P4, input_action=attention
        ),
    }
    for message, model in cases.items():
        with pytest.raises(TypeError, match=f"^(`model` )?{message}"):
            save_pretrained(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_network_that_was_changed_is_refused(tmp_path):
    grown, slower, mixed = small(), small(), small()
    grown.top = nnx.eval_shape(lambda: nnx.Conv(1, 3, (4, 4), rngs=nnx.Rngs(0)))
    slower.dropout.rate = 0.9
    mixed.top.bias = nnx.Param(jnp.zeros(10, jnp.bfloat16))
    for model, message in (
        (grown, r"`top.bias` is float32\[3\], not float32\[10\]; build"),
        (slower, r"`dropout.rate` is 0.9, not 0.3; build"),
        (mixed, r"`top.bias` is bfloat16\[10\], not float32\[10\]; build"),
    ):
        with pytest.raises(
            ValueError, match=f"^`model` is not what its arguments build.*{message}"
        ):
            save_pretrained(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "abc"}, "`classes` must be the names of the outputs, got 'abc'"),
        ({"image_shape": (28, 0, 1)}, "`image_shape` must be at least 1, got 0"),
        ({"image_range": (1, 0)}, r"`image_range` must be two numbers, the lower one first, got"),
        ({"figures": {"error": 0.1}}, "`protocol` must say how the figures were measured: error"),
        ({"about": {"x": {1, 2}}}, "`about` must hold JSON values"),
        ({"about": {"x": float("nan")}}, "`about` must hold JSON values"),
    ],
)
def test_bad_descriptions(options, message, rng, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_pretrained(made("Z2CNN", rng), tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())


def changed_config(path, **changes) -> None:
    config = json.loads((path / CONFIG).read_text())
    (path / CONFIG).write_text(json.dumps(config | changes))


def with_weights(path, data: bytes) -> None:
    """Replace the weights, with their right checksum."""
    (path / WEIGHTS).write_bytes(data)
    files = {WEIGHTS: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}
    changed_config(path, files=files)


def cut(path) -> None:
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-1])


def cut_and_summed(path) -> None:
    with_weights(path, (path / WEIGHTS).read_bytes()[:-1])


def one_more_tensor(path) -> None:
    header = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    with_weights(path, struct.pack("<Q", len(header)) + header + b"0")


def of_another_network(path) -> None:
    other = path.with_name("other")
    save_pretrained(made("LeNet", np.random.default_rng(0)), other)
    with_weights(path, (other / WEIGHTS).read_bytes())


def wider(path) -> None:
    changed_config(path, arguments={"width": 3})


def with_arguments(**arguments):
    return lambda path: changed_config(path, arguments=arguments)


SPOILT = {
    r"model.safetensors is damaged or another file: its SHA-256 is not the one in config.json": cut,
    "model.safetensors is no whole safetensors file: ": cut_and_summed,
    "model.safetensors has an array of dtype 'F8_E4M3'": one_more_tensor,
    "holds the numbers of another network than .*`layer0.conv.bias` is missing": of_another_network,
    r"another network .*`layer0.conv.bias` is float32\[2\], not float32\[3\]": wider,
    "it has no config.json": lambda path: (path / CONFIG).unlink(),
    "it has no model.safetensors": lambda path: (path / WEIGHTS).unlink(),
    "config.json is damaged: Expecting value": lambda path: (path / CONFIG).write_text(""),
    "not the folder of a saved network: config.json has no `format`; of the run folder": (
        lambda path: (path / CONFIG).write_text('{"model": "p4cnn"}')
    ),
    "has the format 2, of gconv_jax 9.0; this version reads formats up to 1: use a newer one": (
        lambda path: changed_config(path, format=2, versions={"gconv_jax": "9.0"})
    ),
    "config.json is damaged: `figures` must be an object, got 3": (
        lambda path: changed_config(path, figures=3)
    ),
    "config.json is damaged: `images` must have a range": (
        lambda path: changed_config(path, images={"shape": None})
    ),
    "config.json: `network` 'os.system' is none that this version knows; it knows AllCNNC": (
        lambda path: changed_config(path, network="os.system")
    ),
    "`network` 'P5CNN' is none that this version knows; it knows P4CNN$": (
        lambda path: changed_config(path, network="P5CNN")
    ),
    "config.json is damaged: `network` must be a text, got": lambda path: changed_config(
        path, network=["P4CNN"]
    ),
    "`shell` is no argument of Z2CNN, which takes classes, in_features": with_arguments(shell="ls"),
    "`width` of Z2CNN: got 'eval' of '1', and this version knows cyclic, dihedral": with_arguments(
        width={"eval": "1"}
    ),
    "`width` of Z2CNN: got 'cyclic' of 1000000000, and": with_arguments(width={"cyclic": 10**9}),
    "`width` of Z2CNN: got 'subgroup' of 3, and": with_arguments(width={"subgroup": 3}),
    r"`width` of Z2CNN: must be an object with one key, got \[\]": with_arguments(width={}),
    "`dtype` of Z2CNN: got 'dtype' of 'O', and": with_arguments(dtype={"dtype": "O"}),
    "`width` of Z2CNN: .*unexpected keyword argument 'x'": with_arguments(
        width={"Siren": {"x": 1}}
    ),
    "Z2CNN does not take these arguments: ": with_arguments(width={"octahedral": None}),
    "`width` of Z2CNN: `network` 'sys' is none": with_arguments(width={"network": "sys"}),
    "config.json is damaged: `arguments` must be an object, got 3": (
        lambda path: changed_config(path, arguments=3)
    ),
}


@pytest.mark.parametrize("message", SPOILT)
def test_spoilt_folders_get_one_clear_line(message, folder, tmp_path):
    path = tmp_path / "spoilt"
    shutil.copytree(folder, path)
    SPOILT[message](path)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        load_pretrained(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_name_that_is_no_folder(tmp_path, folder):
    with pytest.raises(
        FileNotFoundError, match=r"^nowhere is no folder, and no ready network; the"
    ):
        load_pretrained("nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"is a file; name the folder of the saved network$"
    ):
        load_pretrained(folder / WEIGHTS)


def test_folders_are_replaced_whole_and_only_if_asked(folder, rng, tmp_path, monkeypatch):
    model, path = made("Z2CNN", rng), tmp_path / "x"
    shutil.copytree(folder, path)
    before = (path / WEIGHTS).read_bytes()
    with pytest.raises(
        FileExistsError, match="has a saved network; replace it with overwrite=True"
    ):
        save_pretrained(model, path)
    with monkeypatch.context() as patch:

        def fail(*args):
            raise OSError("no space")

        patch.setattr("gconv_jax.models.pretrained_folder.model_card", fail)
        with pytest.raises(OSError, match="no space"):
            save_pretrained(model, path, overwrite=True)
    assert (path / WEIGHTS).read_bytes() == before and list(tmp_path.iterdir()) == [path]
    save_pretrained(model, path, overwrite=True, card="my card")
    assert (path / WEIGHTS).read_bytes() != before and list(tmp_path.iterdir()) == [path]
    assert (path / CARD).read_text() == "my card"
    (path / "notes.txt").touch()
    with pytest.raises(FileExistsError, match=r"x has notes.txt as well; name a new one$"):
        save_pretrained(model, path, overwrite=True)
    for other in ("runs", "file"):
        (tmp_path / "runs").mkdir(exist_ok=True)
        (tmp_path / "runs" / "precious").touch()
        (tmp_path / "file").touch()
        with pytest.raises(FileExistsError, match=r"`folder` .* (has other files|is a file); "):
            save_pretrained(model, tmp_path / other, overwrite=True)
    (tmp_path / "empty").mkdir()
    assert save_pretrained(model, tmp_path / "empty").is_dir()


def test_without_safetensors_the_error_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for work in (lambda: load_pretrained(folder), lambda: save_pretrained(small(), "x")):
        with pytest.raises(ImportError, match=r"pip install 'gconv_jax\[pretrained\]'$"):
            work()


def test_networks_of_stored_pixels(rng):
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
    with pytest.raises(ValueError, match=r"`std` must be positive, got 0$"):
        models.Standardized(inner, std=0)
    with pytest.raises(
        ValueError, match=r"`mean` must be a finite number, or one for each channel"
    ):
        models.Standardized(inner, mean=float("nan"))


def parameters_of(model) -> int:
    return sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
