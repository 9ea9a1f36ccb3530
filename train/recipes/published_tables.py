"""The published tables: which recipes are their rows, and what was published."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..config import Config
from .presets import PRESETS, partial_presets


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
    """Where the figures stand, and what their protocol was."""
    rows: tuple[Row, ...]
    quick: Callable[[Config], Config]
    quick_rows: tuple[str, ...] = ()
    """The rows of the small version, if not all."""


def _rows(prefix: str, **published: str) -> tuple[Row, ...]:
    return tuple(
        Row(f"{prefix}-{name.replace('_', '-')}", figure) for name, figure in published.items()
    )


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


_CIFAR10_ROWS = {
    "allcnn-z2": ("9.44", "8.86"),
    "allcnn-p4": ("8.84", "7.67"),
    "allcnn-p4m": ("7.59", "7.04"),
    "resnet44-z2": ("9.45", "5.61"),
    "resnet44-p4m": ("6.46", "4.94"),
    "resnet26-z2": ("8.95", "5.27"),
    "resnet26-p4m": ("5.74", "4.19"),
}
_SEPARABLE_CIFAR10_ROWS = {
    "resnet44-p4m": ("8.06", "5.78"),
    "resnet44-p4m-g": ("7.60", "6.09"),
    "resnet44-p4m-gc": ("6.72", "5.43"),
}


def _both_cifar10(rows: dict[str, tuple[str, str]]) -> tuple[Row, ...]:
    """Without augmentation, then with."""
    return tuple(
        Row(f"{prefix}-{name}", figures[i])
        for i, prefix in enumerate(("cifar10", "cifar10plus"))
        for name, figures in rows.items()
    )


def _quick_partial(config: Config) -> Config:
    # Each of 10,000 test images costs a third of what a training image costs in an epoch, and half
    # a point of standard error is what tells the rows apart.
    changes: dict = {"train_images": 4000, "validation": 500, "test_images": 10_000, "epochs": 6}
    if config.partial and config.support_rate < 1:
        # At a tenth of the rate of the filters the supports would not move in so few steps.
        changes["support_rate"] = 10.0
    return replace(config, width=10, warmup=1, patience=6, **changes)


# Test accuracies in percent; T(2), then the whole group and part of it for each of the five.
_PARTIAL_ROWS = {
    ("rotmnist", "ck"): "97.23 99.10 99.13 99.17 99.23 99.24 99.18 98.14 97.78 98.35 98.58",
    ("cifar10", "ck"): "83.11 83.73 86.15 86.08 88.59 86.59 89.11 85.55 89.00 88.95 90.12",
    ("cifar100", "ck"): "47.99 52.35 53.91 55.55 57.26 51.55 57.31 54.29 55.22 57.78 61.46",
    # T(2), SE(2) with 8 elements, the same partial, Augerino with 8 copies
    ("rotmnist", "13"): "96.90 98.43 98.78 98.94",
    ("cifar10", "13"): "91.21 89.73 92.28 91.66",
    ("cifar100", "13"): "67.14 65.97 69.83 68.99",
}
_MNIST6_ROWS = tuple(
    Row(f"mnist6-{which}{partial}", published)
    for which in ("180-so2", "180-o2", "m-mirror", "m-o2")
    for partial, published in (("", "50.00"), ("-partial", "0.00"))
)

TABLES: dict[str, PublishedTable] = {
    "rotmnist": PublishedTable(
        "Rotated MNIST",
        "Cohen & Welling 2016 (arXiv:1602.07576), table 1: the original MNIST-rot-12k, 12,000 "
        "training images, the last epoch, 5 seeds. The authors' code turns training images by "
        "up to 3.14 degrees; ours does not.",
        _rows("rotmnist", z2cnn="5.03 ± 0.20", p4cnn_rp="3.21 ± 0.12", p4cnn="2.28 ± 0.04"),
        _quick_rotmnist,
    ),
    "steerable": PublishedTable(
        "Rotated MNIST with finer rotations",
        "Cohen & Welling 2016 (arXiv:1602.07576), table 1, without augmentation; Weiler & Cesa "
        "2019 (arXiv:1911.08251), images turned while training, 6 seeds; all on the original "
        "MNIST-rot-12k. The small networks are ours.",
        _rows(
            "rotmnist",
            p4cnn="2.28 ± 0.04",
            small="-",
            small_turned="-",
            e2cnn="-",
            e2cnn_d16="0.682",
        ),
        _quick_steerable,
        quick_rows=("rotmnist-p4cnn", "rotmnist-small", "rotmnist-small-turned"),
    ),
    "separable": PublishedTable(
        "Separable group convolutions on rotated MNIST",
        "Lengyel & van Gemert 2021 (arXiv:2110.13059), table 1: the original MNIST-rot-12k, 12,000 "
        "training images, the last epoch; the number of seeds is not given.",
        (
            Row("rotmnist-not-separable", "2.23 ± 0.06"),
            Row("rotmnist-g-10", "2.60 ± 0.10"),
            Row("rotmnist-g-17", "1.97 ± 0.04"),
            Row("rotmnist-gc-10", "2.88 ± 0.17"),
            Row("rotmnist-gc-30", "1.74 ± 0.07"),
        ),
        _quick_separable,
    ),
    "separable-cifar10": PublishedTable(
        "Separable group convolutions on CIFAR-10",
        "Lengyel & van Gemert 2021 (arXiv:2110.13059), table 2: 50,000 training images; the number "
        "of seeds is not given.",
        _both_cifar10(_SEPARABLE_CIFAR10_ROWS),
        _quick_cifar10,
        quick_rows=("cifar10-resnet44-p4m", "cifar10-resnet44-p4m-gc"),
    ),
    "cifar10": PublishedTable(
        "CIFAR-10",
        "Cohen & Welling 2016 (arXiv:1602.07576), table 2: 50,000 training images, one seed each. "
        "In the authors' code the last normalisation of the residual networks uses the statistics "
        "of the test batch; ours those of the training images.",
        _both_cifar10(_CIFAR10_ROWS),
        _quick_cifar10,
        quick_rows=("cifar10-resnet44-z2", "cifar10-resnet44-p4m"),
    ),
    "lenet-mnist": PublishedTable(
        "LeNet on MNIST",
        "Ansanelli 2022, table 1: 216,000 parameters each, early stopping with patience 5 on "
        "held-out images; the number of seeds is not given.",
        _rows("lenet", z2="1.25", p4="1.1", p4m="1.4"),
        _quick_mnist,
    ),
    "early-equivariance": PublishedTable(
        "Stopping the equivariance early",
        "Ansanelli 2022, table 3: MNIST, early stopping with patience 5 on held-out images; the "
        "number of seeds is not given.",
        _rows("early", plain="0.81", p4="1.78", early="0.67"),
        _quick_mnist,
    ),
    "early-equivariance-letters": PublishedTable(
        "Stopping the equivariance early, on letters",
        "Ansanelli 2022, table 3: EMNIST, early stopping with patience 5 on held-out images; the "
        "number of seeds is not given.",
        _rows("letters", plain="6.93", p4="13.11", early="6.40"),
        _quick_mnist,
    ),
    "upright-to-rotated": PublishedTable(
        "Trained on upright digits, tested on rotated ones",
        "University of Amsterdam, Deep Learning 2 (2022): best epoch on the test images; S. "
        "Keydana's gcnn has 55.21 and 14.51. Finer rotations are ours.",
        _rows("upright", cnn="52.65", c4="9.30", c8="-", c16="-"),
        _quick_upright,
    ),
    "partial": PublishedTable(
        "Partial equivariance",
        "Romero & Lohit 2021 (arXiv:2110.10211), tables 1, 2 and 5, of which the test error is 100 "
        "minus the accuracy: the best epoch on held-out images, on MNIST6 on the test images; the "
        "original MNIST-rot-12k; elements are drawn at random in evaluation too.",
        _MNIST6_ROWS
        + tuple(
            Row(preset, f"{100 - float(accuracy):.2f}")
            for (dataset, network), figures in _PARTIAL_ROWS.items()
            for preset, accuracy in zip(
                partial_presets(dataset, network), figures.split(), strict=True
            )
        ),
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
