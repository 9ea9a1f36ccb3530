"""Options that are typed after the name of a recipe."""

import dataclasses
from pathlib import Path

import pytest

from train.config import Config
from train.recipes.presets import PRESETS
from train.recipes.typed_options import configure

OWN = {"dataset": "folder", "data": Path("x")}
TYPED = {
    "--size 64 --data x": OWN | {"image_size": 64},
    "--size=64 --data=x": OWN | {"image_size": 64},
    "--size letters": {"size": "letters"},
    "--model p4m-resnet": {"model": "resnet", "group": "p4m"},
    "--model=z2-resnet44 --seed 1": {"model": "resnet44", "group": "z2", "seed": 1},
    "--model resnet --group p4m": {"model": "resnet", "group": "p4m"},
    "--model wide-resnet --groups p4 z2": {"model": "wide-resnet", "groups": ("p4", "z2")},
    "--model p4cnn-rp": {"model": "p4cnn-rp"},
    "--milestones 3 5 --schedule step": {"milestones": (3, 5), "schedule": "step"},
    "--validation 0.25": {"validation": 0.25},
    "--validation 40 --run a/b": {"validation": 40, "run": Path("a/b")},
    "--model ck-resnet --partial": {"model": "ck-resnet", "partial": True},
}


@pytest.mark.parametrize("typed", TYPED)
def test_only_what_is_typed_changes(typed):
    expected = dataclasses.replace(PRESETS["digits-p4cnn"][1], **TYPED[typed])
    assert configure("digits-p4cnn", typed.split()) == expected


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_alone_is_itself(name):
    if name == "folder":
        typed, changed = ["--data", "x"], {"data": Path("x")}
    else:
        typed, changed = [], {}
    assert configure(name, typed) == dataclasses.replace(PRESETS[name][1], **changed)


@pytest.mark.parametrize(("typed", "group", "blocks", "width"), [
    ("", "p4m", 1, 4), ("--group p4", "p4", 1, 4), ("--model resnet", "p4m", 1, 4),
    ("--model p4-resnet44", "p4", None, None), ("--model p4cnn", None, None, None),
    ("--model p4cnn --group p4m", "p4m", None, None),
    ("--model densenet --width 4", None, None, 4),
])  # fmt: skip
def test_another_network_does_not_inherit_the_size_of_the_recipe(typed, group, blocks, width):
    """But what is typed counts, even if the recipe has the same value."""
    config = configure("folder", ["--data", "x", *typed.split()])
    assert (config.group, config.blocks, config.width) == (group, blocks, width)


def test_help_shows_the_values_of_the_recipe(capsys):
    with pytest.raises(SystemExit) as end:
        configure("rotmnist-e2cnn", ["--help"])
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert end.value.code == 0
    for field in dataclasses.fields(Config):
        option = f"--{field.name.replace('_', '-')} "
        assert (option in out.replace(",", " ")) == (field.name != "preset"), option
    assert "--epochs INT Passes over the training images. (default: 40)" in out
    assert "or from which on. (default: 15)" in out and "default: None" not in out
