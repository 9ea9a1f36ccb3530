"""The families of recipes: one function for each, which yields its recipes.

A recipe has a name, a description, a configuration, and the figures that were published for it.
`train.recipes.presets` has the protocols of their sources.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from ..config import Config, Group


class Recipe(NamedTuple):
    """A named configuration."""

    name: str
    description: str
    config: Config
    published: Mapping[str, str] = {}
    """The published test errors in percent, as printed, by the table that has the recipe as a row;
    "-" for rows of our own."""


OWN_IMAGES, OWN_VOLUMES = "own-images", "own-volumes"
"""The tables whose rows are trained on a user's own images or volumes."""
ROTATED = Config(dataset="rotated_mnist/generated")


def digits() -> Iterator[Recipe]:
    """Yield the recipes of the main job."""
    # Small batches: a thousand images have to give enough steps in a few minutes.
    base = Config(dataset="digits", epochs=15, batch_size=48)
    for model, title in (("z2cnn", "Z2CNN"), ("p4cnn", "P4CNN")):
        yield Recipe(
            f"digits-{model}",
            f"{title} on the rotated digits inside scikit-learn; no download.",
            replace(base, model=model),
        )


def folder() -> Iterator[Recipe]:
    """Yield the recipe for a user's own images."""
    yield Recipe(
        "folder",
        "A small p4m residual network on your own images: --data DIR.",
        Config(
            model="resnet",
            group="p4m",
            blocks=1,
            width=4,
            dataset="folder",
            validation=0.1,
            epochs=30,
            batch_size=32,
            learning_rate=2e-3,
            weight_decay=1e-4,
            schedule="cosine",
        ),
        {OWN_IMAGES: "-"},
    )


def voxels() -> Iterator[Recipe]:
    """Yield the recipe for a user's own volumes."""
    yield Recipe(
        "folder-voxels",
        "A small network over the rotations of the cube on your own volumes: --data FILE.npz.",
        Config(
            model="voxel-cnn",
            group="octahedral",
            width=2,
            dataset="folder",
            validation=0.1,
            epochs=20,
            batch_size=32,
            learning_rate=5e-3,
            weight_decay=1e-4,
            schedule="cosine",
        ),
        {OWN_VOLUMES: "-"},
    )


def masks() -> Iterator[Recipe]:
    """Yield the recipes for masks of a user's own images or volumes."""
    (images,), (volumes,) = folder(), voxels()
    unet = {"model": "unet", "task": "segmentation", "blocks": None, "batch_size": 16}
    yield Recipe(
        "folder-masks",
        "A small p4m U-Net for masks of your own images: --data DIR --task segmentation.",
        replace(images.config, **unet, width=6),
    )
    yield Recipe(
        "folder-voxel-masks",
        "A small U-Net over the rotations of the cube for masks of your own volumes: --data "
        "FILE.npz --task segmentation.",
        replace(volumes.config, **unet, width=2),
    )


def rotated_mnist() -> Iterator[Recipe]:
    """Yield the networks of Cohen & Welling 2016 on rotated MNIST."""
    yield Recipe(
        "rotmnist-z2cnn",
        "Z2CNN on rotated MNIST: the plain CNN of Cohen & Welling 2016.",
        replace(ROTATED, model="z2cnn", epochs=300),
        {"rotmnist": "5.03 ± 0.20"},
    )
    yield Recipe(
        "rotmnist-p4cnn",
        "P4CNN on rotated MNIST: the G-CNN of Cohen & Welling 2016.",
        replace(ROTATED, model="p4cnn", epochs=100),
        {"rotmnist": "2.28 ± 0.04", "steerable": "2.28 ± 0.04"},
    )
    yield Recipe(
        "rotmnist-p4cnn-rp",
        "P4CNN with rotation pooling after every layer, on rotated MNIST.",
        replace(ROTATED, model="p4cnn-rp", epochs=100),
        {"rotmnist": "3.21 ± 0.12"},
    )


_STOPPED = Config(dataset="mnist", validation=5000, patience=5, epochs=100)


def lenet() -> Iterator[Recipe]:
    """Yield LeNet with its two convolutions over three groups."""
    groups: dict[Group, str] = {"z2": "1.25", "p4": "1.1", "p4m": "1.4"}
    for group, error in groups.items():
        yield Recipe(
            f"lenet-{group}",
            f"LeNet on MNIST, its two convolutions over {group}.",
            replace(_STOPPED, model="lenet", group=group),
            {"lenet-mnist": error},
        )


def early(prefix: str, data: str, base: Config, table: str, errors: str) -> Iterator[Recipe]:
    """Yield networks that are equivariant nowhere, everywhere and at the bottom alone.

    Args:
        prefix: the first word of the names.
        data: the data set, for descriptions.
        base: the configuration without a network.
        table: the table that the recipes are rows of.
        errors: the three published figures.
    """
    rows = (
        ("plain", "plain-cnn", f"Plain CNN on {data}."),
        ("p4", "p4cnn", f"P4CNN on {data}."),
        ("early", "early-p4cnn", f"P4 in the first three layers, ordinary ones on top, on {data}."),
    )
    for (name, model, description), error in zip(rows, errors.split(), strict=True):
        config = replace(base, model=model)
        yield Recipe(f"{prefix}-{name}", description, config, {table: error})


def early_digits() -> Iterator[Recipe]:
    """Yield `early` on MNIST."""
    base = replace(_STOPPED, size="digits")
    yield from early("early", "MNIST", base, "early-equivariance", "0.81 1.78 0.67")


def early_letters() -> Iterator[Recipe]:
    """Yield `early` on EMNIST."""
    base = replace(_STOPPED, dataset="emnist/balanced", size="letters")
    yield from early("letters", "EMNIST", base, "early-equivariance-letters", "6.93 13.11 6.40")


def upright() -> Iterator[Recipe]:
    """Yield networks that are trained on upright digits and tested on rotated ones."""
    base = Config(
        model="group-cnn",
        dataset="mnist/rotated_test",
        epochs=10,
        batch_size=64,
        learning_rate=1e-2,
        weight_decay=1e-4,
    )
    rows: tuple[tuple[str, Group, str, str], ...] = (
        ("cnn", "z2", "Plain CNN", "52.65"),
        ("c4", "p4", "Group-equivariant CNN over p4", "9.30"),
        ("c8", "c8", "Group-equivariant CNN over c8", "-"),
        ("c16", "c16", "Group-equivariant CNN over c16", "-"),
    )
    for name, group, title, error in rows:
        yield Recipe(
            f"upright-{name}",
            f"{title} trained on upright digits, tested on rotated ones.",
            replace(base, group=group),
            {"upright-to-rotated": error},
        )


def steerable() -> Iterator[Recipe]:
    """Yield networks with finer rotations on rotated MNIST."""
    large = replace(
        ROTATED,
        model="e2cnn",
        augment="rotate",
        epochs=40,
        batch_size=64,
        learning_rate=0.015,
        schedule="exponential",
        milestones=(15,),
        decay=0.8,
    )
    yield Recipe(
        "rotmnist-e2cnn",
        "E2CNN over c16 on rotated MNIST, images turned while training; for a GPU.",
        replace(large, groups=("c16",)),
        {"steerable": "-"},
    )
    yield Recipe(
        "rotmnist-e2cnn-d16",
        "The same over d16 in the first five layers: the best published; for a GPU.",
        replace(large, groups=("d16",) * 5 + ("c16",)),
        {"steerable": "0.682"},
    )
    small = replace(
        ROTATED, model="small-e2cnn", batch_size=64, learning_rate=5e-3, schedule="cosine"
    )
    yield Recipe(
        "rotmnist-small",
        "24,000 parameters over c8 on rotated MNIST, without augmentation.",
        replace(small, epochs=40),
        {"steerable": "-"},
    )
    yield Recipe(
        "rotmnist-small-turned",
        "A wider one, images turned while training; for two hours of a CPU.",
        replace(small, epochs=60, augment="rotate", width=8),
        {"steerable": "-"},
    )


def separable() -> Iterator[Recipe]:
    """Yield P4CNN with separable filters on rotated MNIST (Lengyel & van Gemert 2021)."""
    base = replace(
        ROTATED,
        model="separable-cnn",
        epochs=50,
        batch_size=256,
        learning_rate=1e-2,
        weight_decay=1e-5,
        schedule="step",
        milestones=(40,),
    )
    rows = (
        ("not-separable", "none", "not separable", 10, "2.23 ± 0.06"),
        ("g-10", "g", "g-separable", 10, "2.60 ± 0.10"),
        ("g-17", "g", "g-separable", 17, "1.97 ± 0.04"),
        ("gc-10", "gc", "gc-separable", 10, "2.88 ± 0.17"),
        ("gc-30", "gc", "gc-separable", 30, "1.74 ± 0.07"),
    )
    for name, kind, title, width, error in rows:
        yield Recipe(
            f"rotmnist-{name}",
            f"P4CNN with a linear classifier, {title}, {width} channels, on rotated MNIST.",
            replace(base, separable=kind, width=width),
            {"separable": error},
        )


def cifar10(*, augmented: bool) -> Iterator[Recipe]:
    """Yield the networks of Cohen & Welling 2016 on CIFAR-10, and residual ones with separable
    filters.

    Args:
        augmented: mirror and shift the training images (``cifar10plus``).
    """
    prefix, manner = ("cifar10plus", ", mirrored and shifted") if augmented else ("cifar10", "")
    allcnn = Config(
        model="all-cnn-c",
        dataset="cifar10",
        preprocess="whiten",
        optimizer="sgd",
        learning_rate=0.05,
        weight_decay=1e-3,
        schedule="step",
        milestones=(200, 250, 300),
        epochs=350,
        geometry="published",
        checkpoint_every=5,
        augment="shift-flip" if augmented else "none",
    )
    resnet = replace(
        allcnn, model="resnet44", head="published", milestones=(50, 100, 150), epochs=300
    )
    wide = replace(resnet, model="resnet26")
    # The errors without and with augmentation; of p4m in the separable table they are others.
    rows: tuple[tuple[str, str, Config, Group, tuple[str, str] | None], ...] = (
        ("allcnn", "All-CNN-C", allcnn, "z2", ("9.44", "8.86")),
        ("allcnn", "All-CNN-C", allcnn, "p4", ("8.84", "7.67")),
        ("allcnn", "All-CNN-C", allcnn, "p4m", ("7.59", "7.04")),
        ("resnet44", "ResNet44", resnet, "z2", ("9.45", "5.61")),
        ("resnet44", "ResNet44", resnet, "p4", None),
        ("resnet44", "ResNet44", resnet, "p4m", ("6.46", "4.94")),
        ("resnet26", "ResNet26, wide", wide, "z2", ("8.95", "5.27")),
        ("resnet26", "ResNet26, wide", wide, "p4m", ("5.74", "4.19")),
    )
    for name, title, config, group, errors in rows:
        published = {} if errors is None else {"cifar10": errors[augmented]}
        if (name, group) == ("resnet44", "p4m"):
            published["separable-cifar10"] = ("8.06", "5.78")[augmented]
        yield Recipe(
            f"{prefix}-{name}-{group}",
            f"{title} over {group} on CIFAR-10{manner}.",
            replace(config, group=group),
            published,
        )
        if (name, group) == ("resnet44", "p4m"):
            for kind, others in (("g", ("7.60", "6.09")), ("gc", ("6.72", "5.43"))):
                yield Recipe(
                    f"{prefix}-{name}-{group}-{kind}",
                    f"{title} over {group}, {kind}-separable, on CIFAR-10{manner}.",
                    replace(config, group=group, separable=kind, weight_decay=1e-5),
                    {"separable-cifar10": others[augmented]},
                )


_CK = Config(
    model="ck-resnet",
    epochs=300,
    batch_size=64,
    schedule="cosine",
    warmup=5,
    patience=100,
    dataset="rotated_mnist/generated",
    validation=2000,
)


def partial(dataset: str, network: str, accuracies: str) -> Iterator[Recipe]:
    """Yield the rows of Romero & Lohit 2021 for one data set and network: translations alone, the
    whole group and a learned part of it for several groups, and Augerino beside the 13-layer one.

    Args:
        dataset: ``rotmnist``, ``cifar10`` or ``cifar100``.
        network: ``ck`` (CKResNet) or ``13`` (13 layers).
        accuracies: the published ones in percent, in this order.
    """
    base = _CK
    if network == "13":
        base = replace(base, model="gcnn13", epochs=205, batch_size=128, patience=205)
    if dataset != "rotmnist":
        base = replace(base, dataset=dataset, validation=5000, weight_decay=1e-4)
        base = replace(base, pools="late") if network == "ck" else base
    groups: tuple[tuple[Group, int], ...] = (
        (("so2", 4), ("so2", 8), ("so2", 16), ("o2", 8), ("o2", 16))
        if network == "ck"
        else (("so2", 8),)
    )
    title = f"{base.model} on {dataset}"
    rows = [("t2", f"{title}: translations alone.", replace(base, group="z2"))]
    for group, samples in groups:
        name, over = f"{group}-{samples}", f"{title} over {group}, {samples} samples"
        whole = replace(base, group=group, samples=samples)
        part = replace(whole, partial=True, support_rate=0.1)
        if (dataset, network) == ("rotmnist", "ck"):
            part = replace(part, monotone=1e-3)
        rows.append((name, f"{over}: the whole group.", whole))
        rows.append((f"{name}-partial", f"{over}: part of it, learned.", part))
    if network == "13":
        description = f"{title}: mean over 8 turned images, range learned."
        rows.append(("augerino", description, replace(base, model="augerino")))
    for (name, description, config), accuracy in zip(rows, accuracies.split(), strict=True):
        error = f"{100 - float(accuracy):.2f}"
        yield Recipe(f"{dataset}-{network}-{name}", description, config, {"partial": error})


def mnist6() -> Iterator[Recipe]:
    """Yield CKResNet on sixes, turned or mirrored, over the whole group and a part of it."""
    base = replace(
        _CK,
        dataset="mnist6_180",
        validation=1836,
        width=10,
        learning_rate=3e-3,
        epochs=6,
        warmup=0,
        patience=6,
    )
    rows: tuple[tuple[str, Group, int | None], ...] = (
        ("180", "so2", 4),
        ("180", "o2", 8),
        ("m", "mirror", None),
        ("m", "o2", 8),
    )
    for data, group, samples in rows:
        config = replace(base, dataset=f"mnist6_{data}", group=group, samples=samples)
        name, title = f"mnist6-{data}-{group}", f"ck-resnet over {group} on MNIST6-{data.upper()}"
        yield Recipe(name, f"{title}: the whole group.", config, {"partial": "50.00"})
        # Reflections are there or not: at the rate of the filters they would take longer to go.
        rate = 10.0 if data == "m" else 1.0
        part = replace(config, partial=True, support_rate=rate)
        yield Recipe(f"{name}-partial", f"{title}: part of it, learned.", part, {"partial": "0.00"})
