"""Recipes that give one plain network more and more of a symmetry, by every means there is."""

from collections.abc import Iterator
from dataclasses import replace

from ..config import Config
from .families import Recipe

_ROWS: tuple[tuple[str, str, dict], ...] = (
    ("plain", "A plain CNN", {}),
    ("augmented", "A plain CNN on images that are turned by any angle", {"augment": "rotate"}),
    ("symmetrized", "A plain CNN, averaged over quarter turns", {"adapt": "symmetrize"}),
    # Training images are not upright in either data set, so the prior has no weight.
    (
        "canonicalized",
        "A plain CNN, in a pose that is chosen",
        {"adapt": "canonicalize", "adapt_weight": 0.0},
    ),
    ("penalized", "A plain CNN, with its deviation in the loss", {"adapt": "penalty"}),
    ("relaxed", "P4CNN with relaxed filters", {"model": "p4cnn", "relaxed": 2}),
    ("exact", "P4CNN", {"model": "p4cnn"}),
)
_DATA = {
    "rotmnist": ("rotated_mnist/generated", "rotated MNIST, where all turns are right", 20),
    "mnist6": ("mnist6_180", "sixes, and sixes turned by 180 degrees", 6),
}


def how_much_symmetry() -> Iterator[Recipe]:
    """Yield the rows of the table, for data that have the symmetry and data that break it."""
    for name, (dataset, place, epochs) in _DATA.items():
        base = Config(model="plain-cnn", dataset=dataset, epochs=epochs)
        for kind, what, changes in _ROWS:
            yield Recipe(
                f"symmetry-{name}-{kind}",
                f"{what}: {place}.",
                replace(base, **changes),
                {"how-much-symmetry": "-"},
            )
