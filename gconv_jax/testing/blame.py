"""The first place in a model that breaks the law: a layer, or the code between two layers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Event(NamedTuple):
    """A moment when a layer is given its input, or returns its result."""

    layer: str
    """The path of the layer, with ``#2`` at its second call; empty for the model itself."""
    returns: bool


def place_of_first_fault(events: Sequence[Event], broken: Sequence[bool | None]) -> str:
    """Return a noun phrase and its verb for the part of the model that breaks the law.

    It is an empty string if no part does.

    Args:
        events: the events in order. The last is the result of the model, whose input is right.
        broken: True for each event at which an array breaks the law, None if that is unknown.

    >>> from gconv_jax.testing.blame import Event, place_of_first_fault
    >>> events = [Event("norm", False), Event("norm", True), Event("conv", False)]
    >>> place_of_first_fault(events, [False, False, True])
    "what comes between 'norm' and 'conv' breaks the law"
    """
    if True not in broken:
        return ""
    found = broken.index(True)
    right = [i for i in range(found) if broken[i] is False]
    last = right[-1] if right else -1
    before, here = (events[last] if right else None), events[found]
    if last == found - 1:
        return _between_neighbors(before, here)
    # The results in between are unknown.
    since = ""
    if before:
        since = f" after {before.layer!r}" if before.returns else f" from {before.layer!r} on"
    if not here.layer:
        return f"what comes{since} breaks the law" if since else ""
    layer = f"the first layer seen to break the law is {here.layer!r}"
    return f"{layer}, or what comes before it{since}"


def _between_neighbors(before: Event | None, here: Event) -> str:
    """Return the phrase for an event right after the last one that keeps the law."""
    if before is None:
        return f"what comes before {here.layer!r} breaks the law" if here.layer else ""
    if here == Event(before.layer, True):
        return f"the first layer that breaks the law is {here.layer!r}"
    if here.returns:
        inside = f" in {here.layer!r}" if here.layer else ""
        return f"what comes after {before.layer!r}{inside} breaks the law"
    if before.returns:
        return f"what comes between {before.layer!r} and {here.layer!r} breaks the law"
    return f"what comes before {here.layer!r} in {before.layer!r} breaks the law"


def first_fault(
    events: Sequence[Event],
    errors: Sequence[np.ndarray | None],
    members: np.ndarray,
    rtol: float,
) -> tuple[str, int, float] | None:
    """Return the place, the worst element there, and its relative error; None if the law is kept.

    Args:
        events: the events, as in `place_of_first_fault`.
        errors: the errors of each event under each element, ``[|G|]``; NaN or None if unknown.
        members: a mask of the elements to look at, boolean ``[|G|]``.
        rtol: the largest error that keeps the law.
    """
    if not members.any():
        return None
    unknown = np.full(len(members), np.nan)
    seen = [np.where(members, unknown if row is None else row, -1.0) for row in errors]
    broken = [None if np.isnan(row).any() else bool((row > rtol).any()) for row in seen]
    if True not in broken:
        return None
    row = seen[broken.index(True)]
    element = int(row.argmax())
    return place_of_first_fault(events, broken), element, float(row[element])
