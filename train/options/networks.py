"""The table of networks: what each is for, and which options it takes.

The checks of `Config`, the help of its options, ``list --models`` and `build_model` follow it.
"""

from typing import Literal, NamedTuple

Model = Literal[
    "z2cnn",
    "p4cnn",
    "p4cnn-rp",
    "plain-cnn",
    "early-p4cnn",
    "mixed",
    "lenet",
    "group-cnn",
    "e2cnn",
    "small-e2cnn",
    "all-cnn-c",
    "resnet",
    "resnet44",
    "resnet26",
    "wide-resnet",
    "densenet",
    "ck-resnet",
    "gcnn13",
    "augerino",
    "separable-cnn",
    "vit",
    "convnext",
    "voxel-cnn",
    "unet",
    "group-unet",
]
CONTINUOUS_GROUPS = ("so2", "o2")
FINE_GROUPS = ("c8", "c16", "d8", "d16")
"""The finite groups that turn by other angles than 90 degrees."""
PLANE, SPACE = 2, 3
VOXEL_GROUPS = (
    *("z3", "about-depth", "about-height", "about-width"),
    *("octahedral", "full-octahedral"),
)
"""The groups of volumes; all others are of the plane."""
Symmetry = Literal["mirror", "p2", "p4", "d2", "p4m", "c8", "c16", "d8", "d16"]
"""The finite groups that a whole network can be made equivariant under."""
DEFAULTS = {
    "group": None,
    "groups": (),
    "geometry": "exact",
    "head": "invariant",
    "blocks": None,
    "patch_size": None,
    "size": "digits",
    "filters": None,
    "samples": None,
    "partial": False,
    "kernel_network": None,
    "pools": None,
    "separable": None,
    "relaxed": None,
}
"""The options that not all networks take, with the values that stand for none."""


class Network(NamedTuple):
    """A row of the table."""

    title: str
    options: frozenset[str]
    """The names of `DEFAULTS` that the network takes."""
    width: str = "width"
    """The argument of the network that ``--width`` sets."""
    multiples: tuple[int, ...] = ()
    """The channels of each part of the depth, in multiples of ``--width``, if they differ."""
    default_group: str = "p4"
    """The group without ``--group``, for networks that take one."""
    dimensions: tuple[int, ...] = (PLANE,)
    """2 if it takes groups of the plane, and images; 3 if it takes those of the cube, and
    volumes."""
    segments: bool = False
    """True if it gives a class for each pixel, and not one for the image."""


def _row(title: str, options: str = "", **more) -> Network:
    return Network(title, frozenset(options.split()), **more)


_RESNET = "group filters blocks geometry head separable"
_CONTINUOUS = "group samples partial kernel_network"

NETWORKS: dict[str, Network] = {
    "z2cnn": _row("the plain CNN of Cohen & Welling 2016 for rotated MNIST"),
    "p4cnn": _row(
        "the G-CNN beside it: small gray images without an upright", "group size relaxed"
    ),
    "p4cnn-rp": _row("the same, pooled over rotations after every layer", "group"),
    "plain-cnn": _row("the plain CNN beside early-p4cnn and mixed", "size", width="widths"),
    "early-p4cnn": _row("p4 at the bottom, ordinary on top", "group size", width="widths"),
    "mixed": _row("another group in each part of the depth", "groups", width="widths"),
    "lenet": _row("a LeNet with its two convolutions replaced", "group", width="widths"),
    "group-cnn": _row("any planar group; upright digits to rotated ones", "group filters"),
    "e2cnn": _row("finer rotations, 2.7 million parameters; for a GPU", "groups filters"),
    "small-e2cnn": _row("finer rotations, 24,000 parameters", "groups filters"),
    "all-cnn-c": _row(
        "CIFAR-10, without skip connections",
        "group geometry",
        width="widths",
        multiples=(1, 2),
        default_group="p4",
    ),
    "resnet": _row(
        "color images from 32 to 96 pixels, or volumes",
        _RESNET,
        width="widths",
        multiples=(1, 2, 4),
        dimensions=(PLANE, SPACE),
    ),
    "resnet44": _row(
        "the same with 44 layers, as published", _RESNET, width="widths", multiples=(1, 2, 4)
    ),
    "resnet26": _row(
        "the same with 26 wide layers, as published", _RESNET, width="widths", multiples=(1, 2, 4)
    ),
    "wide-resnet": _row(
        "a wide residual network, a group for each stage",
        "groups filters blocks geometry",
        width="widen",
    ),
    "densenet": _row(
        "densely connected, for patches of tissue", "group filters blocks", width="growth"
    ),
    "ck-resnet": _row(
        "continuous or partial equivariance", f"{_CONTINUOUS} pools", default_group="so2"
    ),
    "gcnn13": _row("the same, 13 layers", _CONTINUOUS, default_group="so2"),
    "augerino": _row("a plain network, averaged over a learned range of angles", "kernel_network"),
    "separable-cnn": _row("P4CNN with separable filters", "group separable"),
    "vit": _row(
        "a vision transformer over a group, for images or volumes",
        "group blocks patch_size",
        dimensions=(PLANE, SPACE),
    ),
    "convnext": _row(
        "ConvNeXt over a group, with three stages",
        "group blocks patch_size head",
        width="widths",
        multiples=(1, 2, 4),
    ),
    "voxel-cnn": _row(
        "volumes, over symmetries of the cube",
        "group",
        width="widths",
        multiples=(1, 2, 4),
        default_group="octahedral",
        dimensions=(SPACE,),
    ),
    "unet": _row(
        "segmentation: a class for each pixel, of images or volumes",
        "group",
        default_group="p4m",
        dimensions=(PLANE, SPACE),
        segments=True,
    ),
    "group-unet": _row(
        "segmentation with residual blocks and attention; for a GPU",
        "group blocks",
        default_group="p4m",
        dimensions=(PLANE, SPACE),
        segments=True,
    ),
}


OWN = _row("a model of your own", "group", default_group="z2", dimensions=(PLANE, SPACE))
"""The row of models that are not in the table."""


def is_own(model: str) -> bool:
    """Return whether ``--model`` names a Python object of the user's own.

    >>> is_own("nets.py:Net"), is_own("resnet44")
    (True, False)
    """
    return ":" in model


def row_of(model: str) -> Network:
    """Return the row of a network, that of `OWN` for one of the user's own."""
    return OWN if is_own(model) else NETWORKS[model]


def dimension_of(model: str, group: str | None) -> int:
    """Return the dimension of what a network over a group takes: 2 for images, 3 for volumes.

    >>> dimension_of("vit", "octahedral"), dimension_of("vit", None)
    (3, 2)
    """
    return SPACE if (group or row_of(model).default_group) in VOXEL_GROUPS else PLANE


def check_dimension(model: str, group: str | None) -> None:
    """Raise ValueError unless a network takes groups of the dimension of this one."""
    if group is None or dimension_of(model, group) in row_of(model).dimensions:
        return
    if group in VOXEL_GROUPS:
        segments = row_of(model).segments
        others = [n for n, of in NETWORKS.items() if SPACE in of.dimensions]
        others = [name for name in others if NETWORKS[name].segments == segments]
        raise ValueError(
            f"`group` {group} is of volumes, for {', '.join(others)}; {model} is for images"
        )
    raise ValueError(
        f"`group` {group} is of images, and {model} is for volumes: it takes one of "
        f"{', '.join(VOXEL_GROUPS)}"
    )


def check_fine(model: str, group: str | None, filters: str | None) -> None:
    """Raise ValueError unless the filters of a network can be turned by a group."""
    if group not in FINE_GROUPS:
        return
    takes = row_of(model).options
    # Those without convolutions that turn, continuous ones, and models of the user's own.
    other = model in ("vit", "convnext", "group-unet") or "samples" in takes or is_own(model)
    if "filters" not in takes and not other:
        known = ", ".join((*networks_with("filters"), "vit", "convnext", "group-unet"))
        raise ValueError(
            f"`group` {group} turns by less than 90 degrees, for {known}; the filters of {model} "
            "are of pixels: choose one of those networks, or p4m, p4 or one of their subgroups"
        )
    if filters == "pixel":
        raise ValueError(
            f"`filters` pixel cannot be turned by {group}: leave it out, or take harmonic, "
            "bilinear or bicubic"
        )


def networks_with(option: str) -> tuple[str, ...]:
    """Return the networks that take an option, in the order of the table.

    >>> networks_with("pools")
    ('ck-resnet',)
    """
    return tuple(name for name, network in NETWORKS.items() if option in network.options)


def segmenting_networks() -> tuple[str, ...]:
    """Return the networks that give a class for each pixel.

    >>> segmenting_networks()
    ('unet', 'group-unet')
    """
    return tuple(name for name, network in NETWORKS.items() if network.segments)


def describe(option: str, text: str) -> str:
    """Return the help of an option: what it sets, then for which networks.

    >>> describe("pools", "The stages that halve the image")
    'The stages that halve the image (ck-resnet)'
    """
    return f"{text} ({', '.join(networks_with(option))})"


def describe_network(name: str) -> str:
    """Return the line on a network in ``list --models``: what it is for, and its options.

    >>> describe_network("p4cnn-rp")
    'the same, pooled over rotations after every layer (--group)'
    """
    title, takes, *_ = NETWORKS[name]
    options = ", ".join(f"--{option.replace('_', '-')}" for option in sorted(takes))
    return f"{title} ({options})" if options else title
