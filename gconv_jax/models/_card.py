"""The model card of a saved network: its README.md."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gconv_jax.models import e2cnn
from gconv_jax.models._arguments import NETWORK
from gconv_jax.models._network import CLASS, OWN, has_own


def model_card(name: str, config: Mapping[str, Any]) -> str:
    """Return the card of a network as Markdown, from its configuration.

    Args:
        name: of its folder, which is the title if there is no other.
        config: the configuration; what is ``about`` it is in the table if it is text or a number.
    """
    title, opens = config["about"].get("title", name), "`gconv_jax.models.load_pretrained`"
    if has_own(config):
        opens += ", which is given the module\nthat gets the numbers"
    else:
        opens += ", and with `python -m train predict`, `features`, `evaluate` and\n`export`"
    rows = "\n".join(f"| {name} | {_one_line(text)} |" for name, text in _rows(config))
    return f"""# {title}

A trained network of [gconv_jax](https://gconv-jax.github.io/gconv_jax/). It opens with
{opens}.

| | |
|---|---|
{rows}
"""


def network_in_words(config: Mapping[str, Any]) -> str:
    """Return the innermost network, the one that networks around it prepare images for.

    >>> inner = {"network": "P4CNN", "arguments": {"width": 2}}
    >>> network_in_words({"network": "Standardized", "arguments": {"model": inner, "std": 0.5}})
    'P4CNN'
    """
    found = _innermost(config)
    return str(found["arguments"][CLASS] if found[NETWORK] == OWN else found[NETWORK])


def group_in_words(config: Mapping[str, Any]) -> str:
    """Return the group or the groups of a network; nothing if it has none.

    >>> group_in_words({"network": "P4CNN", "arguments": {"group": {"cyclic": 4}}})
    'cyclic(4)'
    >>> group_in_words({"network": "SmallE2CNN", "arguments": {"groups": None}})
    'cyclic(8)'
    """
    found = _innermost(config)["arguments"]
    if groups := [group for group in found.get("groups") or [found.get("group")] if group]:
        return " ".join(map(_group, groups))
    published = getattr(getattr(e2cnn, network_in_words(config), None), "published_groups", ())
    return " ".join(map(repr, published))


def _rows(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    plain = (pair for pair in config["about"].items() if isinstance(pair[1], str | int | float))
    about = {name: value for name, value in plain if name != "title"}
    if "task" in about:
        yield "task", str(about.pop("task"))
    yield "network", f"`{network_in_words(config)}` {_options(config)}".strip()
    if group := group_in_words(config):
        yield "group", f"`{group}`"
    yield "parameters", f"{config['parameters']:,}"
    low, high = config["images"]["range"]
    shape = config["images"]["shape"] or ["..."]
    axes, kind = ", ".join(map(str, shape)), "volumes" if len(shape) == 4 else "images"
    stored = ", or uint8" if config[NETWORK] == "Standardized" else ""
    yield "input", f"{kind} `[N, {axes}]` with numbers from {low:g} to {high:g}{stored}"
    if "output" in about:
        yield "output", str(about.pop("output"))
    numbers, vectors = (_nested(config, kind) for kind in ("RescaledOutputs", "VectorOutputs"))
    names = config["classes"]
    if numbers is not None:
        yield "numbers", ", ".join(_numbers(names, numbers["mean"], numbers["std"]))
    elif names:
        yield "classes" if vectors is None else "numbers", ", ".join(names)
    if vectors is not None:
        said = ([names[k] if names else f"number {k}" for k in v] for v in vectors["vectors"])
        yield "vectors", "; ".join(map(", ".join, said))
    for name, value in config["figures"].items():
        yield name, f"{value:.4g}"
    if config["protocol"]:
        yield "protocol", config["protocol"]
    yield from ((name, str(value)) for name, value in about.items())
    yield "written by", ", ".join(f"{k} {v}" for k, v in config["versions"].items())


def _nested(config: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """Return the arguments of the network of a kind in a description, if it has one."""
    arguments = config["arguments"]
    if config[NETWORK] == kind:
        return arguments
    nested = arguments.get("model")
    return _nested(nested, kind) if isinstance(nested, dict) and NETWORK in nested else None


def _numbers(names: Sequence[str] | None, mean: Any, std: Any) -> Iterator[str]:
    """Yield each number with the mean and the deviation that it had in training.

    ValueError unless these are one number, or one for each of the names.
    """
    for name, given in (("mean", mean), ("std", std)):
        if names is not None and np.shape(given) not in ((), (len(names),)):
            raise ValueError(
                f"`{name}` must be one number, or one for each of {len(names)} `classes`, got "
                f"{len(given)}"
            )
    rows = np.broadcast_arrays(mean, std, *([] if names is None else [np.arange(len(names))]))
    for i, (m, s) in enumerate(zip(*map(np.ravel, rows[:2]), strict=True)):
        yield f"{f'number {i}' if names is None else names[i]} (in training {m:.4g} ± {s:.4g})"


def _innermost(config: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = config["arguments"].get("model")
    return _innermost(nested) if isinstance(nested, dict) and NETWORK in nested else config


def _options(config: Mapping[str, Any]) -> str:
    """Return the arguments of the innermost network that are plain numbers or texts."""
    if has_own(config):
        return "a module of its author"
    found = _innermost(config)["arguments"].items()
    plain = [f"{k}={v!r}" for k, v in found if isinstance(v, str | int | float)]
    return f"({', '.join(plain)})"


def _group(group: Mapping[str, Any]) -> str:
    ((name, given),) = group.items()
    if isinstance(given, dict):
        return f"a {name} of {_group(given['of'])}"
    return name if given is None else f"{name}({given})"


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
