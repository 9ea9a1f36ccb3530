"""The recipes that have a name: what `python -m train NAME` starts from.

The rotmnist ones follow Cohen & Welling 2016 (arXiv:1602.07576): all 12,000 training images, Adam
1e-3, batch 128, no weight decay, batch statistics re-estimated before evaluation. No augmentation,
as the paper has it; the authors' code turned images by +-3.14 *degrees* (a uniform angle in +-pi
handed to a function that takes degrees), which is ``augment="jitter"``.

folder is ours: what a CPU can train on a few hundred images, whatever they show.

The cifar10 ones are of the same paper: contrast normalisation and ZCA, momentum 0.9, the published
geometry and head. All-CNN-C follows Springenberg et al. 2014 (arXiv:1412.6806) with rate 0.05. The
weight decay of the resnets, 1e-3, is the default of the authors' code; the paper gives none.
``cifar10plus`` adds mirroring and sub-pixel shifts.

lenet and early: early stopping with patience 5 on held-out images, as their source has it, which
gives neither optimiser nor split; Adam 1e-3, batch 128 and 5,000 images are ours. upright: train on
upright digits, test on rotated ones; AdamW 1e-2, decay 1e-4, batch 64, 10 epochs as published for
z2 and p4; finer rotations are ours.

rotmnist-e2cnn: Weiler & Cesa 2019 (arXiv:1911.08251) as far as their code tells: 40 epochs, batch
64, rate 0.015 times 0.8 after each epoch from the 15th on, training images turned by any angle.
Theirs is an Adam with L1 and L2 penalties and turns with nearest neighbours. rotmnist-small and
-small-turned are ours, for a CPU.

rotmnist-not-separable, -g and -gc: Lengyel & van Gemert 2021 (arXiv:2110.13059): Adam 1e-2, a tenth
of it after 40 of 50 epochs, batch 256. Their weight decay of 1e-5 is part of the gradient; ours,
with adam, is not. cifar10-resnet44-p4m-g and -gc are theirs as well, with that weight decay in SGD;
they crop at random where ``cifar10plus`` shifts.

rotmnist-ck, cifar10-ck, cifar100-ck, the same with 13, and mnist6: Romero & Lohit 2021
(arXiv:2110.10211) and their code: Adam 1e-3, a tenth of it for the supports, 5 epochs of warm-up,
then cosine, images held out to select the epoch, 300 epochs (205 for the 13-layer network). Theirs
decays generated kernels and not parameters; ours, parameters on CIFAR. The published mnist6 chose
the epoch by the test images; ours by held-out ones, in fewer epochs.
"""

from dataclasses import replace

from ..config import Config, Group

PRESETS: dict[str, tuple[str, Config]] = {}
"""Name -> (what it is, configuration)."""


def _add(name: str, description: str, config: Config) -> None:
    PRESETS[name] = (description, replace(config, preset=name))


# Small batches: a thousand images have to give enough steps in a few minutes.
_DIGITS = Config(dataset="digits", epochs=15, batch_size=48)
_add(
    "digits-z2cnn",
    "Z2CNN on the rotated digits inside scikit-learn; no download.",
    replace(_DIGITS, model="z2cnn"),
)
_add(
    "digits-p4cnn",
    "P4CNN on the rotated digits inside scikit-learn; no download.",
    replace(_DIGITS, model="p4cnn"),
)

_add(
    "folder",
    "A small p4m residual network on your own images: --data DIR.",
    Config(
        model="resnet",
        group="p4m",
        blocks=1,
        width=4,
        dataset="folder",
        image_size=64,
        validation=0.1,
        epochs=30,
        batch_size=32,
        learning_rate=2e-3,
        weight_decay=1e-4,
        schedule="cosine",
    ),
)

_ROTATED = Config(dataset="rotated_mnist/generated")
_add(
    "rotmnist-z2cnn",
    "Z2CNN on rotated MNIST: the plain CNN of Cohen & Welling 2016.",
    replace(_ROTATED, model="z2cnn", epochs=300),
)
_add(
    "rotmnist-p4cnn",
    "P4CNN on rotated MNIST: the G-CNN of Cohen & Welling 2016.",
    replace(_ROTATED, model="p4cnn", epochs=100),
)
_add(
    "rotmnist-p4cnn-rp",
    "P4CNN with rotation pooling after every layer, on rotated MNIST.",
    replace(_ROTATED, model="p4cnn-rp", epochs=100),
)

_STOPPED = Config(dataset="mnist", validation=5000, patience=5, epochs=100)
_LENET_GROUPS: tuple[Group, ...] = ("z2", "p4", "p4m")
for _group in _LENET_GROUPS:
    _add(
        f"lenet-{_group}",
        f"LeNet on MNIST, its two convolutions over {_group}.",
        replace(_STOPPED, model="lenet", group=_group),
    )
_EARLY = replace(_STOPPED, size="digits")
_LETTERS = replace(_STOPPED, dataset="emnist/balanced", size="letters")
for _prefix, _config, _data in (("early", _EARLY, "MNIST"), ("letters", _LETTERS, "EMNIST")):
    _add(f"{_prefix}-plain", f"Plain CNN on {_data}.", replace(_config, model="plain-cnn"))
    _add(f"{_prefix}-p4", f"P4CNN on {_data}.", replace(_config, model="p4cnn"))
    _add(
        f"{_prefix}-early",
        f"P4 in the first three layers, ordinary ones on top, on {_data}.",
        replace(_config, model="early-p4cnn"),
    )

_UPRIGHT = Config(
    model="group-cnn",
    dataset="mnist/rotated_test",
    epochs=10,
    batch_size=64,
    learning_rate=1e-2,
    weight_decay=1e-4,
)
_add(
    "upright-cnn",
    "Plain CNN trained on upright digits, tested on rotated ones.",
    replace(_UPRIGHT, group="z2"),
)
_add(
    "upright-c4",
    "Group-equivariant CNN over p4 trained on upright digits, tested on rotated ones.",
    replace(_UPRIGHT, group="p4"),
)

for _group in ("c8", "c16"):
    _add(
        f"upright-{_group}",
        f"Group-equivariant CNN over {_group} trained on upright digits, tested on rotated ones.",
        replace(_UPRIGHT, group=_group),
    )

_TURNED = replace(
    _ROTATED,
    model="e2cnn",
    augment="rotate",
    epochs=40,
    batch_size=64,
    learning_rate=0.015,
    schedule="exponential",
    milestones=(15,),
    decay=0.8,
)
_add(
    "rotmnist-e2cnn",
    "E2CNN over c16 on rotated MNIST, images turned while training; for a GPU.",
    replace(_TURNED, groups=("c16",)),
)
_add(
    "rotmnist-e2cnn-d16",
    "The same over d16 in the first five layers: the best published; for a GPU.",
    replace(_TURNED, groups=("d16",) * 5 + ("c16",)),
)
_SMALL = replace(
    _ROTATED, model="small-e2cnn", batch_size=64, learning_rate=5e-3, schedule="cosine"
)
_add(
    "rotmnist-small",
    "24,000 parameters over c8 on rotated MNIST, without augmentation.",
    replace(_SMALL, epochs=40),
)
_add(
    "rotmnist-small-turned",
    "A wider one, images turned while training; for two hours of a CPU.",
    replace(_SMALL, epochs=60, augment="rotate", width=8),
)

_SEPARABLE = replace(
    _ROTATED,
    model="separable-cnn",
    epochs=50,
    batch_size=256,
    learning_rate=1e-2,
    weight_decay=1e-5,
    schedule="step",
    milestones=(40,),
)
for _kind, _width in (("none", 10), ("g", 10), ("g", 17), ("gc", 10), ("gc", 30)):
    _what = "not separable" if _kind == "none" else f"{_kind}-separable"
    _add(
        f"rotmnist-{_kind}-{_width}" if _kind != "none" else "rotmnist-not-separable",
        f"P4CNN with a linear classifier, {_what}, {_width} channels, on rotated MNIST.",
        replace(_SEPARABLE, separable=_kind, width=_width),
    )

_CIFAR = Config(
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
)
_RESNET = replace(_CIFAR, model="resnet44", head="published", milestones=(50, 100, 150), epochs=300)
_CIFAR_ROWS: tuple[tuple[str, str, Config, tuple[Group, ...]], ...] = (
    ("allcnn", "All-CNN-C", _CIFAR, ("z2", "p4", "p4m")),
    ("resnet44", "ResNet44", _RESNET, ("z2", "p4", "p4m")),
    ("resnet26", "ResNet26, wide", replace(_RESNET, model="resnet26"), ("z2", "p4m")),
)
for _augment, _prefix, _with in (
    ("none", "cifar10", ""),
    ("shift-flip", "cifar10plus", ", mirrored and shifted"),
):
    for _name, _title, _config, _groups in _CIFAR_ROWS:
        for _group in _groups:
            _add(
                f"{_prefix}-{_name}-{_group}",
                f"{_title} over {_group} on CIFAR-10{_with}.",
                replace(_config, group=_group, augment=_augment),
            )
        if _name == "resnet44":
            for _kind in ("g", "gc"):
                _add(
                    f"{_prefix}-{_name}-p4m-{_kind}",
                    f"{_title} over p4m, {_kind}-separable, on CIFAR-10{_with}.",
                    replace(
                        _config, group="p4m", separable=_kind, augment=_augment, weight_decay=1e-5
                    ),
                )


def partial_presets(dataset: str, network: str) -> tuple[str, ...]:
    """The names of the rows of Romero & Lohit 2021 on one data set, in their order."""
    sizes = PARTIAL_GROUPS if network == "ck" else PARTIAL_GROUPS[1:2]
    names = [f"{dataset}-{network}-t2"]
    for group, samples in sizes:
        names += [f"{dataset}-{network}-{group}-{samples}{part}" for part in ("", "-partial")]
    if network == "13":
        names.append(f"{dataset}-13-augerino")
    return tuple(names)


PARTIAL_GROUPS: tuple[tuple[Group, int], ...] = (
    ("so2", 4),
    ("so2", 8),
    ("so2", 16),
    ("o2", 8),
    ("o2", 16),
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
_13 = replace(_CK, model="gcnn13", epochs=205, batch_size=128, patience=205)
_COLOUR = {"validation": 5000, "weight_decay": 1e-4}
_SETS: dict[str, dict] = {
    "rotmnist": {},
    "cifar10": {"dataset": "cifar10", **_COLOUR},
    "cifar100": {"dataset": "cifar100", **_COLOUR},
}
for _name, _changes in _SETS.items():
    for _network, _base in (("ck", _CK), ("13", _13)):
        _row = replace(_base, **_changes)
        if _network == "ck" and _name != "rotmnist":
            _row = replace(_row, pools="late")
        for _preset in partial_presets(_name, _network):
            _parts = _preset.split("-")[2:]
            _title = f"{_row.model} on {_name}"
            if _parts == ["t2"]:
                _add(_preset, f"{_title}: translations alone.", replace(_row, group="z2"))
            elif _parts == ["augerino"]:
                _config = replace(_row, model="augerino")
                _add(_preset, f"{_title}: mean over 8 turned images, range learned.", _config)
            else:
                _config = replace(_row, group=_parts[0], samples=int(_parts[1]))
                _what = "the whole group"
                if _parts[-1] == "partial":
                    _config = replace(_config, partial=True, support_rate=0.1)
                    if _name == "rotmnist" and _network == "ck":
                        _config = replace(_config, monotone=1e-3)
                    _what = "part of it, learned"
                _add(_preset, f"{_title} over {_parts[0]}, {_parts[1]} samples: {_what}.", _config)

_MNIST6 = replace(
    _CK,
    dataset="mnist6_180",
    validation=1836,
    width=10,
    learning_rate=3e-3,
    epochs=6,
    warmup=0,
    patience=6,
)
for _set, _group, _samples in (
    ("180", "so2", 4),
    ("180", "o2", 8),
    ("m", "mirror", None),
    ("m", "o2", 8),
):
    _config = replace(_MNIST6, dataset=f"mnist6_{_set}", group=_group, samples=_samples)
    _title = f"ck-resnet over {_group} on MNIST6-{_set.upper()}"
    _add(f"mnist6-{_set}-{_group}", f"{_title}: the whole group.", _config)
    _add(
        f"mnist6-{_set}-{_group}-partial",
        f"{_title}: part of it, learned.",
        # Reflections are there or not: at the rate of the filters they would take longer to go.
        replace(_config, partial=True, support_rate=10.0 if _set == "m" else 1.0),
    )
