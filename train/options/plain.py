"""The plain counterpart of a network: the same architecture without a symmetry."""

import dataclasses
from typing import Any

from .networks import SPACE, dimension_of, is_own, row_of

PLAIN_NETWORKS = ("z2cnn", "plain-cnn")
"""The networks without a symmetry, whatever their options say."""
_COUNTERPARTS = {"augerino": "gcnn13"}
"""The plain networks inside those that take neither a group nor groups."""
TRANSLATIONS = ("z2", "z3")
"""The groups without a symmetry, of images and of volumes."""
_NONE = {
    "adapt": "none",
    "adapt_group": "p4",
    "adapt_weight": 1.0,
    "samples": None,
    "partial": False,
    "support_rate": 1.0,
    "monotone": 0.0,
    "relaxed": None,
}
"""The options that say how a network has its symmetry, with the values that stand for none."""


def is_plain(config: Any) -> bool:
    """Return whether the network of a `Config` has no symmetry but that of translations."""
    takes = row_of(config.model).options
    if config.adapt != "none":
        return False
    if "group" in takes:
        none = config.group is None and is_own(config.model)
        return none or config.group in TRANSLATIONS
    if "groups" in takes:
        return set(config.groups) == {"z2"}
    return config.model in PLAIN_NETWORKS


def plain_counterpart(config: Any) -> Any:
    """Return the `Config` of an ordinary CNN or transformer of the same depth, with ordinary
    filters, whose width is yet to be chosen; all that is not of the network is unchanged."""
    model = _COUNTERPARTS.get(config.model, config.model)
    takes = row_of(model).options
    changes: dict[str, Any] = _NONE | {"model": model, "width": None, "size": "digits"}
    if "group" in takes:
        of_volumes = dimension_of(config.model, config.group) == SPACE
        changes |= {"group": TRANSLATIONS[of_volumes]}
    changes |= {"groups": ("z2",)} if "groups" in takes else {}
    changes |= {"filters": "pixel"} if "filters" in takes else {}
    changes |= {"separable": "none"} if config.model == "separable-cnn" else {"separable": None}
    return dataclasses.replace(config, **changes)


def check_compare_plain(config: Any) -> None:
    """Raise ValueError if there is nothing to compare with plain networks in a `Config`."""
    if config.compare_plain and is_plain(config):
        takes = row_of(config.model).options
        option = next((name for name in ("group", "groups") if name in takes), "model")
        remedy = "octahedral" if config.group == "z3" else "p4 or p4m"
        remedy = remedy if option != "model" else "p4cnn"
        raise ValueError(
            f"`compare_plain` is for networks with a symmetry, and {config.title} is a plain one "
            f"already: choose another --{option}, such as {remedy}"
        )
