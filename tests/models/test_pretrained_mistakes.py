"""Networks and folders that cannot be saved or loaded, and the line that says why."""

import hashlib
import json
import shutil
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from gconv_jax import (
    P4,
    models,
)
from gconv_jax.models import load_pretrained, save_pretrained
from gconv_jax.models._weights import state_of
from gconv_jax.models.pretrained_folder import CARD, CONFIG, WEIGHTS
from gconv_jax.nnx import Canonicalized, ScorePoses, Symmetrized
from tests.models.tiny_networks import made, small


def attention(*args):
    """No attention at all."""


class Own(nnx.Module):
    """A user's own network."""

    def __init__(self):
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, x):
        return self.scale * x.mean((1, 2, 3))


def test_what_a_file_cannot_name_is_refused(tmp_path):
    vit = nnx.eval_shape(
        lambda: models.GroupViT(
            width=8, depth=1, heads=1, positions=None, attention_fn=attention, rngs=nnx.Rngs(0)
        )
    )
    cases = {
        "must be an nnx.Module, got function$": attention,
        "`attention_fn` of GroupViT is or has a value of the type function, which": vit,
        "`model` of Standardized is or has a value of the type func": models.Standardized(
            attention
        ),
        "`by` is or has a module of your own, Own, and config.json can say so of `model` alone": (
            Canonicalized(small(), ScorePoses(Own(), group=P4), group=P4)
        ),
        "`input_action` of Symmetrized is or has a value of the type func": Symmetrized(
            small(), group=P4, input_action=attention
        ),
    }
    for message, model in cases.items():
        with pytest.raises(TypeError, match=f"^(`model` )?{message}"):
            save_pretrained(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_module_of_ones_own_is_given_where_it_is_loaded(tmp_path, folder):
    class Own(models.Z2CNN):
        """A user's own network."""

    path = save_pretrained(models.Standardized(made_own(Own, 1)), tmp_path / "x")
    for wrong, message in (
        (None, "the network is a module of the user's own, Own, and no file has its code: make it"),
        (made_own(Own, 2), r"of another network than `model`: `model.layer0.conv.bias` is float32"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            load_pretrained(path, model=wrong)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"`model` is for modules of your own, and .* has none"):
        load_pretrained(folder, model=made_own(Own, 2))
    with pytest.raises(
        TypeError, match=r"`model` must be an nnx.Module or a linen.Module, got str$"
    ):
        load_pretrained(path, model="Own")  # pyright: ignore[reportArgumentType]


def test_a_linen_module_is_given_where_it_is_loaded(tmp_path):
    model = models.LinenModel(linen.Dense(2), (3,), rngs=nnx.Rngs(0))
    unsaid = save_pretrained(model, tmp_path / "unsaid")
    with pytest.raises(ValueError, match=r"names no shape of images, .*=LinenModel\("):
        load_pretrained(unsaid, model=linen.Dense(2))
    assert load_pretrained(unsaid, model=model) is not model
    path = save_pretrained(model, tmp_path / "said", image_shape=(3,))
    for wrong, message in (
        (None, "the network is a module of the user's own, Dense, and no file has its code"),
        (linen.Dense(5), "numbers of another network than `model`: `variables.params.bias` is"),
        (linen.Conv(2, (3, 3, 3, 3)), r"`model` Conv fails on images of \(3,\): "),
    ):
        with pytest.raises(ValueError, match=message):
            load_pretrained(path, model=wrong)


def made_own(kind, width: int):
    model = nnx.eval_shape(lambda: kind(width=width, rngs=nnx.Rngs(0)))
    nnx.update(model, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), state_of(model)))
    return model


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
        ({"classes": list("0123456788")}, "`classes` must be names that differ, got '8' twice"),
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


UNITS = {"model": {"network": "Z2CNN", "arguments": {}}, "mean": 0, "std": 1}
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
    "config.json is damaged: `images` must have 'range'": (
        lambda path: changed_config(path, images={"shape": None})
    ),
    "config.json is damaged: `image_range` must be two numbers": (
        lambda path: changed_config(path, images={"shape": None, "range": [3]})
    ),
    "config.json is damaged: `image_shape` must be an integer": (
        lambda path: changed_config(path, images={"shape": ["28"], "range": [0, 1]})
    ),
    "config.json is damaged: `files` must have the sha256 of model.safetensors": (
        lambda path: changed_config(path, files={WEIGHTS: "abc"})
    ),
    "config.json: .*`param_dtype`": lambda path: changed_config(path, param_dtype="float33"),
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
    r"`width` of Z2CNN: must be an object with one key, got \{\}": with_arguments(width={}),
    "`dtype` of Z2CNN: got 'dtype' of 'O', and": with_arguments(dtype={"dtype": "O"}),
    "`width` of Z2CNN: .*unexpected keyword argument 'x'": with_arguments(
        width={"Siren": {"x": 1}}
    ),
    "Z2CNN does not take these arguments: ": with_arguments(width={"octahedral": None}),
    "`width` of Z2CNN: `network` 'sys' is none": with_arguments(width={"network": "sys"}),
    "the network is a module of the user's own, None, and no file has its code": (
        lambda path: changed_config(path, network="own")
    ),
    "`width` of Z2CNN: the network is a module of the user's own, None": with_arguments(
        width={"network": "own", "arguments": 3}
    ),
    "RescaledOutputs does not take these arguments: `std` must be positive, got": (
        lambda path: changed_config(path, network="RescaledOutputs", arguments=UNITS | {"std": -1})
    ),
    "RescaledOutputs does not take these arguments: `mean` must be a finite number": (
        lambda path: changed_config(path, network="RescaledOutputs", arguments=UNITS | {"mean": []})
    ),
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
