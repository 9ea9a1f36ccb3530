"""The first place that breaks the law, found from the inputs and results of layers."""

import numpy as np
import pytest

from gconv_jax.testing.blame import Event, first_fault, place_of_first_fault

CALLS = (">a", "a>", ">b", ">b.c", "b.c>", "b>", ">d", "d>", ">")
"""The layers a, b with c inside, and d: ``>a`` is given its input, ``a>`` returns, ``>`` ends."""
EVENTS = [Event(call.strip(">"), call.endswith(">")) for call in CALLS]

SEEN = "the first layer seen to break the law is"


@pytest.mark.parametrize(
    ("states", "place"),
    [  # + keeps the law, - breaks it, ? is not known
        ("+++++++++", ""),
        ("?????????", ""),
        ("---------", "what comes before 'a' breaks the law"),
        ("+--------", "the first layer that breaks the law is 'a'"),
        ("++-------", "what comes between 'a' and 'b' breaks the law"),
        ("+++------", "what comes before 'b.c' in 'b' breaks the law"),
        ("++++-----", "the first layer that breaks the law is 'b.c'"),
        ("+++++----", "what comes after 'b.c' in 'b' breaks the law"),
        ("++++++---", "what comes between 'b' and 'd' breaks the law"),
        ("++++++++-", "what comes after 'd' breaks the law"),
        ("++-+-++++", "what comes between 'a' and 'b' breaks the law"),
        ("++?-?????", f"{SEEN} 'b.c', or what comes before it after 'a'"),
        ("+?-------", f"{SEEN} 'b', or what comes before it from 'a' on"),
        ("??????--", f"{SEEN} 'd', or what comes before it"),
        ("++??????-", "what comes after 'a' breaks the law"),
        ("+???????-", "what comes from 'a' on breaks the law"),
        ("????????-", ""),
    ],
)  # fmt: skip
def test_the_place(states, place):
    broken = [{"+": False, "-": True, "?": None}[state] for state in states]
    assert place_of_first_fault(EVENTS[: len(states)], broken) == place


def test_a_model_without_layers_has_no_place():
    assert place_of_first_fault(EVENTS[-1:], [True]) == ""


def test_the_worst_element_at_the_first_fault():
    events = EVENTS[:3]
    errors = [np.array([0.0, 1e-7, 9.0]), None, np.array([0.0, 0.5, 0.0])]
    both, first = np.array([True, True, False]), np.array([False, False, True])
    place, element, error = first_fault(events, errors, both, 1e-4)
    assert "'b', or what comes before it from 'a' on" in place and (element, error) == (1, 0.5)
    assert first_fault(events, errors, first, 1e-4)[1:] == (2, 9.0)
    assert first_fault(events, errors, both, 1.0) is None
    assert first_fault(events, errors, ~(both | first), 0.0) is None
