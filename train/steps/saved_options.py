"""The options of the network in a saved folder: the inverse of `train.steps.build_model`."""

import json
from collections.abc import Sequence
from typing import Any

from flax import nnx

from gconv_jax import Siren, models
from gconv_jax.models._arguments import decode
from gconv_jax.models._network import describe

from ..config import FOLDER, Config
from ..options.networks import DEFAULTS, NETWORKS, SPACE
from .build_model import CLASSES, GROUPS, LETTERS, build_model

KINDS = {
    "GroupViT": "vit",
    "GroupConvNeXt": "convnext",
    "UNet": "unet",
    "GroupUNet": "group-unet",
} | {kind.__name__: name for name, kind in CLASSES.items() if isinstance(kind, type)}
"""The networks of the table by the names of their classes."""
ADAPTED = {"Symmetrized": "symmetrize", "Canonicalized": "canonicalize"}
"""The modules that make networks equivariant, with the values of the option ``--adapt``."""
_OF_IMAGES = ("classes", "out_features", "in_features", "dtype")
"""The arguments that follow the images and how they are computed with."""


def saved_options(description: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a `Config` that build the network of a ``config.json``.

    ValueError if it has arguments, or is of a kind, that no options stand for.

    >>> from gconv_jax.models import pretrained_config
    >>> saved_options(pretrained_config("digits-p4cnn"))["model"]
    'p4cnn'
    """
    kind, arguments = description["network"], description["arguments"]
    if kind in ("Standardized", "Whitened", "RescaledOutputs", "VectorOutputs"):
        return saved_options(arguments["model"])
    if kind in ADAPTED:
        group = _group(arguments["group"])
        return saved_options(arguments["model"]) | {"adapt": ADAPTED[kind], "adapt_group": group}
    if kind not in KINDS:
        raise ValueError(f"no option --model stands for a network {kind}")
    model = KINDS[kind]
    found = {"model": model, "width": _width(model, arguments)} | _others(model, arguments)
    takes = NETWORKS[model].options
    options = {k: v for k, v in found.items() if k in ("model", "width") or k in takes}
    if options.get("size", "digits") != "digits":
        options["width"] = None
    _require_same(options, kind, arguments)
    return options


def _others(model: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `DEFAULTS` that a network may have been built with."""
    found: dict[str, Any] = {
        name: arguments[name]
        for name in ("filters", "geometry", "head", "patch_size", "samples", "partial", "blocks")
        if name in arguments
    }
    if arguments.get("group") is not None:
        found["group"] = _group(arguments["group"])
    if arguments.get("groups") is not None:
        found["groups"] = tuple(_group(group) for group in arguments["groups"])
    if "depth" in arguments:
        wide = model == "wide-resnet"
        found["blocks"] = (arguments["depth"] - 4) // 6 if wide else arguments["depth"]
    blocks = arguments.get("depths", arguments.get("blocks"))
    if isinstance(blocks, Sequence):
        found["blocks"] = blocks[0]
    if "separable" in arguments:
        none = "none" if model == "separable-cnn" else None
        found["separable"] = arguments["separable"] or none
    if "early_pool" in arguments:
        found["pools"] = "early" if arguments["early_pool"] else "late"
    if "kernel_network" in arguments:
        siren = next(iter(arguments["kernel_network"])) == Siren.__name__
        found["kernel_network"] = "siren" if siren else "multiplicative"
    found["relaxed"] = arguments.get("filter_banks")
    letters = models.LETTER_WIDTHS.get(LETTERS.get(model, ""))
    widths = arguments.get("width", arguments.get("widths"))
    if letters is not None and isinstance(widths, Sequence) and tuple(widths) == letters:
        found["size"] = "letters"
    return found


def _width(model: str, arguments: dict[str, Any]) -> int | None:
    network = NETWORKS[model]
    width = arguments.get(network.width)
    first = width[0] if isinstance(width, Sequence) else width
    return None if first is None else first // (network.multiples or (1,))[0]


def _group(described: Any) -> str:
    """Return the name of a group in options."""
    group = decode(described, lambda nested: nested)
    for name, known in GROUPS.items():
        if known == group:
            return name
    raise ValueError(f"no option --group stands for {group!r}")


def _require_same(options: dict[str, Any], kind: str, arguments: dict[str, Any]) -> None:
    """Raise ValueError unless the options build the network, argument by argument."""
    row = NETWORKS[options["model"]]
    images: dict[str, Any] = {"dataset": FOLDER} if SPACE in row.dimensions else {}
    images |= {"task": "segmentation"} if row.segments else {}
    config = Config(**(DEFAULTS | images | options))
    outputs = "out_features" if kind == "GroupUNet" else "classes"
    for name in (outputs, "in_features"):
        if name not in arguments:
            raise ValueError(f"the description of {kind} has no `{name}` in its arguments")
    images = {"classes": arguments[outputs], "in_features": arguments["in_features"]}
    built = describe(nnx.eval_shape(lambda: build_model(config, **images)))["arguments"]
    for name, value in arguments.items():
        if name not in _OF_IMAGES and built.get(name) != value:
            raise ValueError(
                f"no options stand for a {kind} with `{name}` {json.dumps(value)}: build and train "
                "it in Python"
            )
