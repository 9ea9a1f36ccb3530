"""Recipes of transformers and ConvNeXts: over p4m, and plain ones beside them.

The figures are ours, since no publication has these networks on these data sets. The plain networks
have equal width, or as many multiplications for an image.
"""

from collections.abc import Iterator
from dataclasses import replace

from ..config import Config, Group
from .families import ROTATED, Recipe

# What both train with; published for neither at this size.
_ADAMW = {"schedule": "cosine", "weight_decay": 0.05, "clip": 1.0}


def transformers() -> Iterator[Recipe]:
    """Yield vision transformers on rotated MNIST: over p4m, and plain ones."""
    base = replace(ROTATED, model="vit", blocks=4, patch_size=7, epochs=40, warmup=4, **_ADAMW)
    kind, place = "vision transformer", "rotated MNIST"
    yield from _beside_plain("rotmnist-vit", kind, place, base, width=96, small=44)


def convnext() -> Iterator[Recipe]:
    """Yield ConvNeXts of three stages on CIFAR-10: over p4m, and plain ones."""
    base = Config(
        model="convnext",
        dataset="cifar10",
        blocks=2,
        patch_size=2,
        head="ordinary",  # photographs have an upright
        epochs=100,
        warmup=5,
        checkpoint_every=5,
        **_ADAMW,
    )
    for recipe in _beside_plain("cifar10-convnext", "ConvNeXt", "CIFAR-10", base, 48, 25):
        yield recipe._replace(published={"convnext": "-"})


def folder() -> Iterator[Recipe]:
    """Yield the recipes for a user's own images."""
    base = Config(
        dataset="folder",
        group="p4m",
        image_size=64,
        validation=0.1,
        epochs=50,
        batch_size=32,
        warmup=2,
        **_ADAMW,
    )
    yield Recipe(
        "folder-convnext",
        "A small p4m ConvNeXt on your own images: --data DIR.",
        replace(base, model="convnext", blocks=1, width=48, patch_size=4),
    )
    yield Recipe(
        "folder-vit",
        "A small p4m vision transformer on your own images: --data DIR.",
        replace(base, model="vit", blocks=4, width=128, patch_size=8),
    )


def _beside_plain(
    prefix: str, kind: str, place: str, base: Config, width: int, small: int
) -> Iterator[Recipe]:
    """Yield a network over p4m, the plain one of equal width, and the plain one with about as many
    multiplications, whose width is ``small``."""
    rows: tuple[tuple[str, Group, int, str], ...] = (
        ("p4m", "p4m", width, f"A {kind} over p4m on {place}."),
        ("z2", "z2", width, f"The plain {kind} of equal width on {place}."),
        ("z2-small", "z2", small, f"The plain {kind} of equal multiplications on {place}."),
    )
    for name, group, size, description in rows:
        yield Recipe(f"{prefix}-{name}", description, replace(base, group=group, width=size))
