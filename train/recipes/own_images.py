"""Recipes that say what the symmetry is worth on a user's own images or volumes.

They stand beside ``folder`` and ``folder-voxels`` in two tables. The networks of a table have about
as many parameters each: 33,000 to 39,000 for images, 26,000 to 28,000 for volumes.
"""

from collections.abc import Iterator
from dataclasses import replace

from .families import OWN_IMAGES, OWN_VOLUMES, Recipe, folder, voxels


def own_images() -> Iterator[Recipe]:
    """Yield the networks beside the p4m one: plain ones, and one over D8."""
    (p4m,) = folder()
    plain = replace(p4m.config, group="z2", width=11)
    d8 = replace(p4m.config, model="small-e2cnn", group=None, groups=("d8",), blocks=None, width=5)
    rows = (
        ("folder-plain", "A small plain residual network on your own images: --data DIR.", plain),
        (
            "folder-plain-turned",
            "The plain network on images that are turned at random: --data DIR.",
            replace(plain, augment="rotate"),
        ),
        ("folder-d8", "A small network over 8 rotations and 8 reflections: --data DIR.", d8),
    )
    for row in rows:
        yield Recipe(*row, {OWN_IMAGES: "-"})


def own_volumes() -> Iterator[Recipe]:
    """Yield the plain networks beside the one over the rotations of the cube."""
    (cube,) = voxels()
    plain = replace(cube.config, group="z3", width=10)
    rows = (
        ("folder-voxels-plain", "A plain network on your own volumes: --data FILE.npz.", plain),
        (
            "folder-voxels-plain-turned",
            "The plain network on volumes that are turned at random: --data FILE.npz.",
            replace(plain, augment="rotate"),
        ),
    )
    for row in rows:
        yield Recipe(*row, {OWN_VOLUMES: "-"})
