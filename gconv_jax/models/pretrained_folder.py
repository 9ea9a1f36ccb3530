"""A trained network as a folder: its description, its numbers and its card.

``config.json`` names the network and its arguments, ``model.safetensors`` holds the numbers, and
``README.md`` is the model card. Reading a folder runs no code of it: networks, groups and dtypes
are looked up in a closed table (`gconv_jax.models._arguments`).
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import __version__ as flax_version, linen, nnx

import gconv_jax
from gconv_jax.models._card import model_card
from gconv_jax.models._network import NETWORKS, build, describe, has_own
from gconv_jax.models._saved_config import (
    CONFIG,
    FORMAT,
    WEIGHTS,
    as_json,
    check_classes,
    check_dtype,
    check_figures,
    check_range,
    check_shape,
    json_object,
    read_config,
    read_file,
)
from gconv_jax.models._weights import (
    arrays_of,
    expected_arrays,
    first_changed_attribute,
    first_difference,
    load_into,
    parameter_dtype,
    read_safetensors,
    require_safetensors,
    state_of,
    write_safetensors,
)
from gconv_jax.models.inputs import Standardized, Whitened
from gconv_jax.models.linen_model import LinenModel

CARD = "README.md"
READY = Path(__file__).with_name("pretrained")
"""The folder of the ready networks, which are part of the package."""


def save_pretrained(
    model: nnx.Module,
    folder: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    image_shape: Sequence[int] | None = None,
    image_range: tuple[float, float] = (0.0, 1.0),
    figures: Mapping[str, float] | None = None,
    protocol: str | None = None,
    about: Mapping[str, Any] | None = None,
    card: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a trained network to a folder, from which `load_pretrained` makes it again.

    The folder has ``config.json`` (the network and its arguments, what is said about it here,
    versions and checksums), ``model.safetensors`` (parameters, batch statistics and all other
    variables but random keys) and ``README.md``, the model card. It appears when it is whole.

    Args:
        model: a network of `gconv_jax.models`, maybe with `Standardized`, `Whitened`,
            `RescaledOutputs`, `VectorOutputs`, `gconv_jax.nnx.Symmetrized` or `Canonicalized`
            around it. A module of your own may be in its place, a Linen module in a `LinenModel`;
            `load_pretrained` then needs one like it.
        folder: where to write it.
        classes: the names of the outputs, in their order.
        image_shape: ``(*spatial, C)`` of the images that it was trained on.
        image_range: the numbers that black and white are for the network. It is ``(0, 1)`` for
            `Standardized` and `Whitened` ones, which take stored pixels.
        figures: numbers that say how good it is, by name.
        protocol: how they were measured: on which images, which epoch, how many seeds.
        about: more for the file and the card, JSON values by name, such as ``task`` and ``data``.
        card: the text of the model card; by default one is made of the above.
        overwrite: whether the folder of another saved network is replaced.

    Returns:
        The folder.

    Raises:
        TypeError: no module, or a network with an argument that a file cannot name.
        ValueError: a network that was changed after it was built, or other bad arguments.
        FileExistsError: the folder is there.
        ImportError: safetensors is missing, which the extra ``pretrained`` brings.

    >>> import tempfile
    >>> from flax import nnx
    >>> from gconv_jax import P4M
    >>> from gconv_jax.models import P4CNN, load_pretrained, save_pretrained
    >>> model = P4CNN(group=P4M, width=2, classes=3, rngs=nnx.Rngs(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_pretrained(model, f"{folder}/digits", classes=("0", "1", "2"))
    ...     print(sorted(file.name for file in path.iterdir()))
    ...     print(load_pretrained(path).groups[0])
    ['README.md', 'config.json', 'model.safetensors']
    P4M
    """
    require_safetensors()
    path = Path(folder).expanduser().absolute()
    _require_free(path, overwrite)
    if isinstance(model, Standardized | Whitened) and tuple(image_range) != (0, 1):
        raise ValueError(f"`image_range` is (0, 1) for networks of stored pixels: {image_range}")
    described = describe(model)
    parts = nnx.split(_own_part(model)) if has_own(described) else None
    built = _abstract(described, parts)
    dtype = parameter_dtype(model)
    dtype = None if dtype == parameter_dtype(built) else dtype
    arrays = arrays_of(state_of(model))
    difference = first_difference(expected_arrays(built, dtype), arrays)
    if difference := difference or first_changed_attribute(model, built):
        raise ValueError(
            "`model` is not what its arguments build: it was changed after that, and "
            f"{difference}; build it with other arguments, or save it with orbax"
        )
    params = jax.tree.leaves(nnx.state(model, nnx.Param))
    config = {
        "format": FORMAT,
        **described,
        "parameters": sum(p.size for p in params),
        "param_dtype": dtype,
        "classes": check_classes(classes),
        "images": {"shape": check_shape(image_shape), "range": check_range(image_range)},
        "figures": check_figures(figures, protocol),
        "protocol": protocol,
        "about": dict(about or {}),
        "versions": {
            "gconv_jax": gconv_jax.__version__,
            "jax": jax.__version__,
            "flax": flax_version,
        },
    }
    as_json(config)  # before anything is written
    with _replacing(path) as beside:
        write_safetensors(beside / WEIGHTS, arrays)
        data = (beside / WEIGHTS).read_bytes()
        config["files"] = {WEIGHTS: {"bytes": len(data), "sha256": _checksum(data)}}
        (beside / CONFIG).write_text(as_json(config), encoding="utf-8")
        text = model_card(path.name, config) if card is None else card
        (beside / CARD).write_text(text, encoding="utf-8")
    return path


def load_pretrained(
    folder: str | os.PathLike[str],
    *,
    model: nnx.Module | linen.Module | None = None,
    rngs: nnx.Rngs | None = None,
) -> Any:
    """Return a saved network, in evaluation mode.

    It is an ordinary module of the class that was saved, to evaluate, to train further
    (``model.train()``) or to take apart. A network that the training program has written is a
    `Standardized` or a `Whitened` one: it takes stored pixels, uint8 from 0 to 255, or the same
    divided by 255, and the network within is its ``model``.

    Args:
        folder: the folder, or the name of a ready network (`pretrained_networks`).
        model: a module that you have made, for a folder of a module of your own: no file has its
            code. A copy of it gets the numbers; a Linen module gets them in a `LinenModel`.
        rngs: the random key ``dropout``, from which those of the network are made.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        TypeError: ``model`` is no Flax module.
        ValueError: a file is damaged, or names or holds what this version does not know, or
            ``model`` is missing, or of no use, or has other arrays.
        ImportError: safetensors is missing, which the extra ``pretrained`` brings.

    >>> from gconv_jax.models import load_pretrained
    >>> model = load_pretrained("digits-p4cnn")
    >>> type(model).__name__, type(model.model).__name__
    ('Standardized', 'P4CNN')
    """
    path = pretrained_path(folder)
    require_safetensors()
    config = read_config(path)
    if model is not None and not isinstance(model, nnx.Module | linen.Module):
        kind = type(model).__name__
        raise TypeError(f"`model` must be an nnx.Module or a linen.Module, got {kind}")
    if model is not None and not has_own(config):
        raise ValueError(f"`model` is for modules of your own, and {path} has none: leave it out")
    data = read_file(path / WEIGHTS)
    if _checksum(data) != config["files"][WEIGHTS]["sha256"]:
        raise ValueError(
            f"{path / WEIGHTS} is damaged or another file: its SHA-256 is not the one in {CONFIG}"
        )
    if isinstance(model, linen.Module):
        model = _as_nnx(model, path, config)
    try:
        built = _abstract(config, None if model is None else nnx.split(model))
        expected = expected_arrays(built, check_dtype(config["param_dtype"]))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path / CONFIG}: {error}") from None
    try:
        arrays = read_safetensors(data)
    except ValueError as error:
        raise ValueError(f"{path / WEIGHTS} {error}") from None
    if difference := first_difference(expected, arrays):
        other = f"{CONFIG} describes" if model is None else "`model`"
        raise ValueError(
            f"{path / WEIGHTS} holds the numbers of another network than {other}: {difference}"
        )
    for name, array in arrays.items():
        if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
            raise ValueError(
                f"{path / WEIGHTS}: `{name}` is {array.dtype}, which JAX has with jax_enable_x64"
            )
    loaded = load_into(built, arrays, nnx.Rngs(0) if rngs is None else rngs)
    loaded.eval()
    return loaded


def pretrained_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what is known of a saved network: the content of its ``config.json``.

    Among its keys are ``classes``, ``images`` (``shape`` and ``range``), ``figures`` with their
    ``protocol``, ``parameters`` and ``about``.

    Args:
        folder: the folder, or the name of a ready network.

    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`.

    >>> from gconv_jax.models import pretrained_config
    >>> pretrained_config("digits-p4cnn")["images"]
    {'shape': [28, 28, 1], 'range': [0.0, 1.0]}
    """
    return read_config(pretrained_path(folder))


def pretrained_networks() -> tuple[str, ...]:
    """Return the names of the ready networks, which are part of the package.

    `load_pretrained` takes them.

    >>> from gconv_jax.models import pretrained_networks
    >>> "digits-p4cnn" in pretrained_networks()
    True
    """
    return tuple(sorted(path.parent.name for path in READY.glob(f"*/{CONFIG}")))


def pretrained_path(folder: str | os.PathLike[str]) -> Path:
    """Return the folder of a saved network, or of a ready one by its name. A folder of that name
    comes first.

    FileNotFoundError if there is none, which names the ready ones.
    """
    path, names = Path(folder).expanduser(), pretrained_networks()
    if path.is_dir():
        return path
    if str(folder) in names:
        return READY / str(folder)
    if path.is_file():
        raise FileNotFoundError(f"{path} is a file; name the folder of the saved network")
    raise FileNotFoundError(
        f"{folder} is no folder, and no ready network; these are {', '.join(names)}"
    )


def is_pretrained(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder looks like that of a saved network, or is the name of a ready one."""
    path = Path(folder).expanduser()
    if path.is_dir():
        return (path / WEIGHTS).is_file() or "format" in json_object(path / CONFIG)
    return str(folder) in pretrained_networks()


def _abstract(description: Any, own: tuple[nnx.GraphDef, nnx.State] | None) -> nnx.Module:
    """Return the network of a description with shapes in place of numbers; the parts of a module
    of the user's own, if it has such."""
    make = None if own is None else lambda: nnx.merge(*own)
    return nnx.eval_shape(lambda: build(description, nnx.Rngs(0), make))


def _own_part(model: Any) -> nnx.Module:
    """Return the module of the user's own in a network."""
    while type(model) in NETWORKS.values():
        model = model.model
    return model


def _as_nnx(module: linen.Module, path: Path, config: Mapping[str, Any]) -> LinenModel:
    """Return a Linen module with the shapes of the variables that it has for the images of a saved
    network.

    ValueError if it cannot be called with these, or they have no shape.
    """
    shape = config["images"]["shape"]
    if shape is None:
        raise ValueError(
            f"{path / CONFIG} names no shape of images, from which a Linen module has its "
            "parameters: give model=LinenModel(module, image_shape, rngs=...)"
        )
    try:
        return nnx.eval_shape(lambda: LinenModel(module, tuple(shape), rngs=nnx.Rngs(0)))
    except Exception as error:
        name, (line, *_) = type(module).__name__, str(error).splitlines() or [""]
        raise ValueError(f"`model` {name} fails on images of {tuple(shape)}: {line}") from error


def _require_free(path: Path, overwrite: bool) -> None:
    """FileExistsError unless the folder may be written: it is not there, or empty, or that of a
    saved network which is to be replaced."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise FileExistsError(f"`folder` {path} is a file; name a folder")
    if "format" not in json_object(path / CONFIG):
        raise FileExistsError(f"`folder` {path} has other files; name a new one")
    others = sorted(p.name for p in path.iterdir() if p.name not in (CONFIG, WEIGHTS, CARD))
    if others:
        raise FileExistsError(f"`folder` {path} has {others[0]} as well; name a new one")
    if not overwrite:
        raise FileExistsError(
            f"`folder` {path} has a saved network; replace it with overwrite=True, or name a new "
            "one"
        )


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path``, which takes its place at the end; after an error the
    folder that was there before is still there."""
    beside, before = (path.with_name(f".{path.name}.{kind}") for kind in ("tmp", "old"))
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        for file in beside.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        shutil.rmtree(before, ignore_errors=True)
        if path.exists():
            path.rename(before)
        try:
            beside.rename(path)
        except OSError:
            if before.exists():
                before.rename(path)
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(before, ignore_errors=True)


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
