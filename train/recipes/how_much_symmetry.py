"""Recipes that give one plain network more and more of a symmetry, by every means there is."""

from collections.abc import Iterator
from dataclasses import replace

from ..config import FOLDER, Config
from .families import Recipe

_Row = tuple[str, str, dict]

_ROWS: tuple[_Row, ...] = (
    ("plain", "A plain CNN", {}),
    ("augmented", "A plain CNN on images that are turned by any angle", {"augment": "rotate"}),
    ("symmetrized", "A plain CNN, averaged over poses", {"adapt": "symmetrize"}),
    # Training images are not upright in any of the data sets, so the prior has no weight.
    (
        "canonicalized",
        "A plain CNN, in a pose that is chosen",
        {"adapt": "canonicalize", "adapt_weight": 0.0},
    ),
    ("penalized", "A plain CNN, with its deviation in the loss", {"adapt": "penalty"}),
    ("relaxed", "P4CNN with relaxed filters", {"model": "p4cnn", "relaxed": 2}),
)
_PARTIAL: _Row = (
    "partial",
    "CKResNet over SO(2), a part of it learned",
    {
        "model": "ck-resnet",
        "group": "so2",
        "samples": 4,
        "partial": True,
        "width": 10,
        "learning_rate": 3e-3,
        "support_rate": 10.0,
    },
)
_EXACT: _Row = ("exact", "P4CNN", {"model": "p4cnn"})
_HALF: _Row = (
    "half",
    "P4CNN over half turns and reflections, which keep the direction",
    {"model": "p4cnn", "group": "d2"},
)


def how_much_symmetry() -> Iterator[Recipe]:
    """Yield the rows of the table, for data that have the symmetry and data that break it."""
    base = Config(model="plain-cnn", dataset="rotated_mnist/generated", epochs=20)
    rows = (*_ROWS, _PARTIAL, _EXACT)
    yield from _rows("rotmnist", "rotated MNIST, where all turns are right", base, rows)
    base = replace(base, dataset="mnist6_180", epochs=6)
    yield from _rows("mnist6", "sixes, and sixes turned by 180 degrees", base, rows)
    # The user's copy of the images is named by --data.
    base = replace(base, dataset=FOLDER, image_size=64, epochs=20, batch_size=32)
    rows = (*map(_under_p4m, _ROWS), _PARTIAL, _HALF, _under_p4m(_EXACT))
    yield from _rows("steel", "steel that is rolled one way", base, rows)


def _rows(name: str, place: str, base: Config, rows: tuple[_Row, ...]) -> Iterator[Recipe]:
    for kind, what, changes in rows:
        config = replace(base, **changes)
        yield Recipe(
            f"symmetry-{name}-{kind}", f"{what}: {place}.", config, {"how-much-symmetry": "-"}
        )


def _under_p4m(row: _Row) -> _Row:
    """Return the row with reflections beside quarter turns."""
    name, what, changes = row
    if "adapt" in changes:
        return name, what, changes | {"adapt_group": "p4m"}
    if "model" in changes:
        return name, what.replace("P4CNN", "P4CNN over p4m"), changes | {"group": "p4m"}
    return row
