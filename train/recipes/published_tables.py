"""The published tables: their titles, sources and rows.

A row is a recipe, and the figure that was published for it stands beside the recipe, in `families`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..config import FOLDER, Config
from .families import OWN_IMAGES, OWN_VOLUMES
from .presets import PRESETS, RECIPES


@dataclass(frozen=True)
class Row:
    """A recipe and the figure that was published for it."""

    preset: str
    published: str
    """Test error in percent, as printed."""

    @property
    def config(self) -> Config:
        return PRESETS[self.preset][1]


@dataclass(frozen=True)
class PublishedTable:
    """The rows of a table, and the small version of them that can be seen on a laptop."""

    title: str
    source: str
    """The publication of the figures, and their protocol."""
    rows: tuple[Row, ...]
    quick: Callable[[Config], Config]
    quick_rows: tuple[str, ...] = ()
    """The rows of the small version, if not all."""


def _rows(table: str, *names: str) -> tuple[Row, ...]:
    """Return the rows of a table: the recipes of these names, or else all that belong to it."""
    chosen = names or [name for name, recipe in RECIPES.items() if table in recipe.published]
    return tuple(Row(name, RECIPES[name].published[table]) for name in chosen)


def _quick_rotmnist(config: Config) -> Config:
    return replace(config, train_images=3000, test_images=5000, epochs=config.epochs // 10)


def _quick_steerable(config: Config) -> Config:
    return replace(config, train_images=3000, test_images=5000, epochs=5)


def _quick_separable(config: Config) -> Config:
    return replace(config, train_images=3000, test_images=5000, epochs=10, milestones=(8,))


def _quick_mnist(config: Config) -> Config:
    return replace(config, train_images=5000, validation=1000, test_images=5000, epochs=8)


def _quick_upright(config: Config) -> Config:
    return replace(config, train_images=5000, test_images=2000, epochs=3)


def _quick_cifar10(config: Config) -> Config:
    """Eight layers in place of 44, at about 88,000 parameters each; small batches, since a fifth of
    the images and a fortieth of the epochs have to give enough steps."""
    width = {"z2": 17, "p4m": {"g": 10, "gc": 15}.get(config.separable, 6)}[config.group]  # pyright: ignore[reportCallIssue]
    return replace(
        config,
        blocks=1,
        width=width,
        train_images=10_000,
        test_images=2000,
        batch_size=32,
        epochs=8,
        milestones=(5, 7),
        checkpoint_every=1,
    )


def _quick_convnext(config: Config) -> Config:
    """One block for each stage, not two, and a fifth of the images. Small batches give enough
    steps in few epochs."""
    return replace(
        config,
        blocks=1,
        train_images=10_000,
        batch_size=32,
        epochs=15,
        warmup=1,
        checkpoint_every=1,
    )


def _quick_symmetry(config: Config) -> Config:
    if config.dataset == FOLDER:  # few images, so they are made smaller instead
        return replace(config, epochs=max(3, config.epochs // 2), image_size=32)
    images = {"train_images": 3000, "test_images": 10_000} if config.epochs > 6 else {}
    return replace(config, epochs=max(3, config.epochs // 3), **images)


def _quick_own(config: Config) -> Config:
    return replace(config, epochs=config.epochs // 5)


def _quick_partial(config: Config) -> Config:
    # Each of 10,000 test images costs a third of what a training image costs in an epoch, and half
    # a point of standard error is what tells the rows apart.
    changes: dict = {"train_images": 4000, "validation": 500, "test_images": 10_000, "epochs": 6}
    if config.partial and config.support_rate < 1:
        # At a tenth of the rate of the filters the supports would not move in so few steps.
        changes["support_rate"] = 10.0
    return replace(config, width=10, warmup=1, patience=6, **changes)


def _partial_rows() -> tuple[Row, ...]:
    """Return the rows of the three tables: MNIST6, then CKResNet, then the 13-layer network."""
    rows = _rows("partial")
    order = ("mnist6", "-ck-", "-13-")
    return tuple(row for mark in order for row in rows if mark in row.preset)


TABLES: dict[str, PublishedTable] = {
    "rotmnist": PublishedTable(
        "Rotated MNIST",
        "Cohen & Welling 2016 (arXiv:1602.07576), table 1: the original MNIST-rot-12k, 12,000 "
        "training images, the last epoch, 5 seeds. The authors' code turns training images by "
        "up to 3.14 degrees; ours does not.",
        _rows("rotmnist", "rotmnist-z2cnn", "rotmnist-p4cnn-rp", "rotmnist-p4cnn"),
        _quick_rotmnist,
    ),
    "steerable": PublishedTable(
        "Rotated MNIST with finer rotations",
        "Cohen & Welling 2016 (arXiv:1602.07576), table 1, without augmentation; Weiler & Cesa "
        "2019 (arXiv:1911.08251), images turned while training, 6 seeds; all on the original "
        "MNIST-rot-12k. The small networks are ours.",
        _rows(
            "steerable",
            "rotmnist-p4cnn",
            "rotmnist-small",
            "rotmnist-small-turned",
            "rotmnist-e2cnn",
            "rotmnist-e2cnn-d16",
        ),
        _quick_steerable,
        quick_rows=("rotmnist-p4cnn", "rotmnist-small", "rotmnist-small-turned"),
    ),
    "separable": PublishedTable(
        "Separable group convolutions on rotated MNIST",
        "Lengyel & van Gemert 2021 (arXiv:2110.13059), table 1: the original MNIST-rot-12k, 12,000 "
        "training images, the last epoch; the number of seeds is not given.",
        _rows("separable"),
        _quick_separable,
    ),
    "separable-cifar10": PublishedTable(
        "Separable group convolutions on CIFAR-10",
        "Lengyel & van Gemert 2021 (arXiv:2110.13059), table 2: 50,000 training images; the number "
        "of seeds is not given.",
        _rows("separable-cifar10"),
        _quick_cifar10,
        quick_rows=("cifar10-resnet44-p4m", "cifar10-resnet44-p4m-gc"),
    ),
    "cifar10": PublishedTable(
        "CIFAR-10",
        "Cohen & Welling 2016 (arXiv:1602.07576), table 2: 50,000 training images, one seed each. "
        "In the authors' code the last normalization of the residual networks uses the statistics "
        "of the test batch; ours those of the training images.",
        _rows("cifar10"),
        _quick_cifar10,
        quick_rows=("cifar10-resnet44-z2", "cifar10-resnet44-p4m"),
    ),
    "convnext": PublishedTable(
        "ConvNeXt on CIFAR-10",
        "Liu et al. 2022 (arXiv:2201.03545) has the plain network, of other sizes and on ImageNet; "
        "the rows are ours: p4m, and plain networks of equal width and of as many multiplications.",
        _rows("convnext"),
        _quick_convnext,
    ),
    "how-much-symmetry": PublishedTable(
        "How much symmetry?",
        "All rows are ours: a plain CNN, the same made equivariant in several ways, a G-CNN of as "
        "many parameters and one of relaxed filters; on data that have the symmetry of quarter "
        "turns, and on data that break it.",
        _rows("how-much-symmetry"),
        _quick_symmetry,
    ),
    OWN_IMAGES: PublishedTable(
        "What the symmetry is worth on your own images",
        "All rows are ours: a plain residual network, the same on images that are turned at "
        "random, one over p4m, and a network over D8, of about as many parameters. The images are "
        "those of --data.",
        _rows(OWN_IMAGES, "folder-plain", "folder-plain-turned", "folder", "folder-d8"),
        _quick_own,
    ),
    OWN_VOLUMES: PublishedTable(
        "What the symmetry is worth on your own volumes",
        "All rows are ours: a plain network, the same on volumes that are turned at random, and "
        "one over the 24 rotations of the cube, of about as many parameters. The volumes are those "
        "of --data.",
        _rows(OWN_VOLUMES, "folder-voxels-plain", "folder-voxels-plain-turned", "folder-voxels"),
        _quick_own,
    ),
    "lenet-mnist": PublishedTable(
        "LeNet on MNIST",
        "Ansanelli 2022, table 1: 216,000 parameters each, early stopping with patience 5 on "
        "held-out images; the number of seeds is not given.",
        _rows("lenet-mnist"),
        _quick_mnist,
    ),
    "early-equivariance": PublishedTable(
        "Stopping the equivariance early",
        "Ansanelli 2022, table 3: MNIST, early stopping with patience 5 on held-out images; the "
        "number of seeds is not given.",
        _rows("early-equivariance"),
        _quick_mnist,
    ),
    "early-equivariance-letters": PublishedTable(
        "Stopping the equivariance early, on letters",
        "Ansanelli 2022, table 3: EMNIST, early stopping with patience 5 on held-out images; the "
        "number of seeds is not given.",
        _rows("early-equivariance-letters"),
        _quick_mnist,
    ),
    "upright-to-rotated": PublishedTable(
        "Trained on upright digits, tested on rotated ones",
        "University of Amsterdam, Deep Learning 2 (2022): best epoch on the test images; S. "
        "Keydana's gcnn has 55.21 and 14.51. Finer rotations are ours.",
        _rows("upright-to-rotated"),
        _quick_upright,
    ),
    "partial": PublishedTable(
        "Partial equivariance",
        "Romero & Lohit 2021 (arXiv:2110.10211), tables 1, 2 and 5, of which the test error is 100 "
        "minus the accuracy: the best epoch on held-out images, on MNIST6 on the test images; the "
        "original MNIST-rot-12k; elements are drawn at random in evaluation too.",
        _partial_rows(),
        _quick_partial,
        quick_rows=(
            "mnist6-180-so2",
            "mnist6-180-so2-partial",
            "mnist6-m-mirror",
            "mnist6-m-mirror-partial",
            "cifar10-ck-so2-4",
            "cifar10-ck-so2-4-partial",
        ),
    ),
}
