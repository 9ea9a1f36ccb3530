"""Plain networks with as many parameters as others, as shapes alone: nothing is trained."""

import dataclasses

import pytest

from train.config import Config
from train.options.networks import NETWORKS, SPACE
from train.options.plain import is_plain, plain_counterpart
from train.recipes.presets import PRESETS
from train.steps.equal_parameters import count_parameters, nearest_width, with_parameters

FORM = {"classes": 8, "in_features": 3}
SLOW = pytest.mark.slow
NARROW = [
    {"model": "p4cnn", "group": "p4m", "relaxed": 2, "width": 6},
    {"model": "early-p4cnn", "size": "letters"},
    {"model": "mixed", "groups": ("p4m", "p4", "z2"), "width": 5},
    {"model": "small-e2cnn", "width": 6},
    {"model": "separable-cnn", "group": "p4m"},
    {"model": "vit", "group": "p4m", "width": 64, "blocks": 1},
    {"model": "voxel-cnn", "group": "octahedral", "width": 2, "dataset": "folder"},
    {"model": "all-cnn-c", "group": "z2", "adapt": "canonicalize", "width": 8},
    pytest.param({"model": "resnet", "group": "p4m", "width": 4, "blocks": 1}, marks=SLOW),
    pytest.param({"model": "densenet", "width": 6}, marks=SLOW),
    pytest.param({"model": "ck-resnet", "samples": 4, "partial": True, "width": 5}, marks=SLOW),
    pytest.param({"model": "augerino", "width": 5}, marks=SLOW),
    pytest.param({"model": "resnet26", "separable": "gc", "width": 8, "blocks": 1}, marks=SLOW),
    pytest.param({"model": "convnext", "group": "p4m", "width": 16, "blocks": 1}, marks=SLOW),
]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("options", NARROW, ids=lambda options: options["model"])
def test_the_plain_network_has_about_as_many_parameters(options):
    config = Config(**options)
    assert not is_plain(config)
    plain = plain_counterpart(config)
    assert is_plain(plain) and plain.epochs == config.epochs and plain.blocks == config.blocks
    target = count_parameters(config, **FORM)
    sized = with_parameters(plain, target, **FORM)
    assert sized.parameters == count_parameters(sized.config, **FORM)
    assert abs(sized.parameters / target - 1) < 0.15
    assert dataclasses.replace(sized.config, width=None) == plain


def test_negative_control_the_same_width_is_another_number():
    config = PRESETS["folder"][1]
    config = dataclasses.replace(config, dataset="digits", image_size=None)
    same = dataclasses.replace(plain_counterpart(config), width=config.width)
    assert count_parameters(config, **FORM) > 7 * count_parameters(same, **FORM)


def test_a_published_network_stays_as_it_was_published():
    config = PRESETS["cifar10-allcnn-p4"][1]
    target = count_parameters(config, classes=10, in_features=3)
    sized = with_parameters(plain_counterpart(config), target, classes=10, in_features=3)
    assert sized.config.width is None and sized.parameters == 1_372_254


@pytest.mark.parametrize("target", [1, 7, 100, 144, 150, 10**4, 123_456])
@pytest.mark.parametrize("step", [1, 4, 12])
def test_the_nearest_width_is_that_of_a_search_through_all(target, step):
    tried = []

    def count(width: int) -> int | None:
        tried.append(width)
        return None if width % step else 3 * width**2 + width

    width, parameters = nearest_width(count, target)
    best = min(range(step, 2000, step), key=lambda w: abs(3 * w**2 + w - target))
    assert width == best and parameters == 3 * best**2 + best
    assert len(tried) == len(set(tried)), "each is built once"
    assert len(tried) < 30 * step


def test_every_network_has_a_counterpart_or_is_plain():
    for name in NETWORKS:
        dataset = "folder" if SPACE in NETWORKS[name].dimensions else "digits"
        task = "segmentation" if NETWORKS[name].segments else "auto"
        groups = ("p4", "z2") if name == "mixed" else ()
        config = Config(model=name, groups=groups, dataset=dataset, task=task)
        assert is_plain(config) == (name in ("z2cnn", "plain-cnn"))
        assert is_plain(config) or is_plain(plain_counterpart(config))
