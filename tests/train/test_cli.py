"""Commands that a user types, and the answers to mistakes."""

import dataclasses
import os
import subprocess
import sys
from typing import get_args

import pytest

import gconv_jax
from train import __main__ as program
from train.__main__ import COMMANDS, OTHERS, main
from train.config import Config
from train.options.networks import DEFAULTS, NETWORKS, Model, networks_with
from train.recipes.presets import GROUPS, PRESETS
from train.run_folder.folder import Run
from train.steps.build_model import CLASSES


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    try:
        status = main(list(arguments))
    except SystemExit as exit:  # tyro's own errors and --help
        status = exit.code
    out, err = capsys.readouterr()
    # tyro draws boxes: compare words
    out, err = (
        " ".join(w for w in text.split() if set(w) - set("│|─-+╭╮╰╯")) for text in (out, err)
    )
    return status, out, err


def test_help_is_one_screen_of_commands_and_groups(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    for word in (*OTHERS, *GROUPS, "--resume", "--data", "--distributed", "--version"):
        assert word in out
    assert set(COMMANDS) == OTHERS.keys() - {"list"}


def test_version(capsys):
    assert run(capsys, "--version")[:2] == (0, f"python -m train {gconv_jax.__version__}")


def test_errors_of_xla_that_are_none_are_not_shown(capsys, monkeypatch):
    """They are logged for each program from the cache; who asks for them gets them."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    run(capsys, "list")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    run(capsys, "list")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"


def test_help_of_a_preset_shows_every_option_with_its_meaning(capsys):
    status, out, _ = run(capsys, "rotmnist-p4cnn", "--help")
    assert status == 0
    assert "--epochs INT" in out and "Passes over the training images. (default: 100)" in out
    assert "--raw-dir" in out and "--parallel {auto,jit,pmap,sharding}" in out


def test_lists_name_every_recipe_once(capsys):
    status, out, _ = run(capsys, "list")
    assert status == 0 and "rotmnist" in out and "30 recipes" in out
    shown = []
    for group in GROUPS:
        assert main(["list", group]) == 0
        shown += [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(shown) == sorted(PRESETS)


def test_list_of_networks(capsys):
    assert main(["list", "--models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(NETWORKS) == list(CLASSES)
    assert "(--filters, --groups)" in next(line for line in lines if " e2cnn " in line)


def test_the_table_of_networks_is_that_of_the_configuration():
    """Every network of the command line, and every option with its default."""
    fields = {field.name: field for field in dataclasses.fields(Config)}
    assert get_args(Model) == tuple(NETWORKS)
    for option, default in DEFAULTS.items():
        assert fields[option].default == default and networks_with(option)


def test_the_cache_is_mentioned_where_it_is_made(tmp_path):
    """And by no command that compiles nothing, and not if nothing is kept."""
    cache = tmp_path / "gconv_jax" / "xla"
    env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    env["XDG_CACHE_HOME"] = str(tmp_path)

    def said(*words: str, **more: str) -> str:
        script = "import sys; from train.__main__ import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", script, *words]
        return subprocess.run(
            command, env=env | more, capture_output=True, text=True, check=False
        ).stderr

    compiles = ("evaluate", str(tmp_path / "no run"))
    assert said("list", "--models") == ""
    assert str(cache) not in said(*compiles, JAX_ENABLE_COMPILATION_CACHE="false")
    first = said(*compiles)
    assert str(cache) in first and "JAX_COMPILATION_CACHE_DIR moves" in first
    cache.mkdir(parents=True)
    assert str(cache) not in said(*compiles)


@pytest.mark.parametrize(
    ("words", "begun"),
    [
        ([], ["digits"]),
        (["--report", "none"], ["digits", "--report", "none"]),
        (["--data", "photos"], ["folder", "--data", "photos"]),
        (["--data=photos"], ["folder", "--data=photos"]),
        (["--data"], ["folder", "--data"]),
    ],
    ids=" ".join,
)
def test_a_command_line_without_a_recipe(words, begun, monkeypatch):
    """The first is the first command of the README: nothing is typed after the program."""
    found = []
    monkeypatch.setattr(program, "_train", lambda name, rest: found.append([name, *rest]))
    monkeypatch.setattr(program, "_parse", lambda kind, name, rest: found.append([name, *rest]))
    monkeypatch.setattr("train.commands.digits.digits", lambda options: None)
    assert main(words) == 0 and found == [begun]


def test_a_reader_that_has_seen_enough_is_no_error():
    """As behind ``| head``: no traceback, and no line."""
    command = [sys.executable, "-m", "train", "list"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as run:
        assert run.stdout is not None and run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == ""
    assert run.returncode == program.UNREAD


def test_without_the_extra_it_is_said_what_to_install(tmp_path):
    script = "import sys; sys.modules['tyro'] = None; import train.__main__"
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1 and run.stderr.count("\n") == 1
    assert 'pip install "gconv_jax[train]"' in run.stderr


MISTAKES = {
    (
        "rotmnist-p4cn",
    ): "unknown command or recipe `rotmnist-p4cn`; did you mean `rotmnist-p4cnn` or `rotmni",
    ("evalute", "x"): "unknown command or recipe `evalute`; did you mean `evaluate`?",
    ("rotmnist-p4cnn", "--epoch", "20"): "Perhaps you meant: --epochs INT",
    ("--epoch", "20"): "Perhaps you meant: --epochs INT",
    ("rotmnist-p4cnn", "--epochs", "0"): "`epochs` must be finite and at least 1, got 0",
    ("digits-p4cnn", "--learning-rate", "nan"): "`learning_rate` must be positive and finite",
    ("digits-p4cnn", "--batch-size", "5000"): "`batch_size` must be at most the number of training",
    (
        "digits-p4cnn",
        "--batch-size",
        "20",
    ): "`batch_size` 20 does not divide by the 8 local devices",
    ("digits-p4cnn", "--group", "p3"): "p3",
    ("digits-z2cnn", "--group", "p4m"): "`group` is not for z2cnn, got 'p4m'",
    ("digits-p4cnn", "--model", "mixed", "--group", "p4"): "`group` is not for mixed; it takes --g",
    ("digits-p4cnn", "--model", "mixed"): "`groups` go with model mixed, e.g. --model mixed --gro",
    (
        "digits-p4cnn",
        "--groups",
        "p4",
    ): "`groups` are for mixed, e2cnn, small-e2cnn, wide-resnet, not for p4cn",
    (
        "digits-p4cnn",
        "--group",
        "c8",
    ): "`group` c8 turns by less than 90 degrees, for group-cnn",
    (
        "folder",
        "--group",
        "c8",
        "--filters",
        "pixel",
    ): "`filters` pixel cannot be turned by c8",
    ("digits-p4cnn", "--model", "net.py:Net", "--blocks", "3"): "`blocks` is for resnet, resnet44",
    ("digits-p4cnn", "--model", "gone.py:Net"): "`model` gone.py:Net: there is no file",
    (
        "digits-p4cnn",
        "--filters",
        "harmonic",
    ): "`filters` is for group-cnn, e2cnn, small-e2cnn, resnet, resnet44, resnet2",
    ("rotmnist-small", "--group", "c8"): "`group` is not for small-e2cnn; it takes --groups, got",
    (
        "digits-p4cnn",
        "--head",
        "published",
    ): "`head` is for resnet, resnet44, resnet26, convnext,",
    ("digits-p4cnn", "--schedule", "step"): "`milestones` go with schedule step, e.g. --schedule",
    ("digits-p4cnn", "--schedule", "step", "--milestones", "5", "3"): "must be positive and rise",
    ("rotmnist-e2cnn", "--epochs", "10"): "below epochs=10, or the rate never falls; e.g. --milest",
    ("rotmnist-e2cnn", "--milestones", "5", "8"): "of schedule exponential must be one, the epoch",
    ("digits-p4cnn", "--warmup", "15"): "`warmup` must be below epochs=15, got 15",
    ("digits-p4cnn", "--patience", "3"): "`patience` 3 needs images to choose with: add --validat",
    ("digits-p4cnn", "--average", "1"): "`average` must be at least 0 and below 1, got 1.0",
    ("digits-p4cnn", "--clip", "0"): "`clip` must be positive and finite, got 0.0",
    ("digits-p4cnn", "--seeds", "0"): "`seeds` must be finite and at least 1, got 0",
    ("digits-p4cnn", "--decay", "-1"): "`decay` must be positive and finite, got -1.0",
    ("digits-p4cnn", "--weight-decay", "inf"): "`weight_decay` must be finite and at least 0.0, g",
    ("early-p4", "--size", "letters", "--width", "5"): "`size` letters sets the widths: leave out ",
    ("lenet-p4", "--evaluate-every", "10"): "`evaluate_every` 10 must be at most patience 5",
    ("cifar10-resnet44-p4m", "--epochs", "40"): "must be below epochs=40, or the rate never falls",
    ("cifar10-allcnn-z2", "--schedule", "cosine"): "(and --milestones alone for none); got",
    (
        "table",
        "cifar10",
        "--quick",
        "--rows",
        "cifar10-allcnn-z2",
    ): "`rows` of cifar10 are cifar10-",
    ("table", "rotmnst"): "rotmnist",
    (
        "table",
        "rotmnist",
        "--rows",
        "p4",
    ): "`rows` of rotmnist are rotmnist-z2cnn, rotmnist-p4cnn-rp",
    ("--resume", "nowhere"): "nowhere is not a run folder: it has no config.json",
    ("evaluate", "nowhere"): "nowhere is not a run folder",
    ("predict", "nowhere", "x.png"): "nowhere is not a run folder",
    (
        "--data",
        "nowhere",
    ): "`data` nowhere does not exist; it must be a folder with a folder",
    ("folder",): "`dataset` folder needs the folder of your images: add --data DIR",
    ("digits-p4cnn", "--size", "32"): "`image_size` is for images of your own (--data DIR), not fo",
    ("--data", "x", "--dataset", "mnist"): "`data` is for images of your own (--data DIR), not for",
    ("--data", "x", "--test-fraction", "1"): "`test_fraction` must be above 0 and below 1: 1.0",
    (
        "--data",
        "x",
        "--model",
        "p4-resnet",
        "--group",
        "p4",
    ): "`model` p4-resnet says the group",
    (
        "--data",
        "x",
        "--size",
        "32",
        "--image-size",
        "64",
    ): "`size` 32 is the same as --image-size",
    (
        "digits-p4cnn",
        "--model",
        "p5-resnet",
    ): "`model` must be one of z2cnn, p4cnn, p4cnn-rp,",
    ("digits-p4cnn", "--size", "leters"): "leters",
    ("digits-p4cnn", "--angles", "30"): "`angles` must be a multiple of 4 from 4 to 360, got 30",
    ("digits-p4cnn", "--validation", "2.5"): "`validation` must be a number of images, or a share",
    ("list", "x"): "`list` takes one of digits, folder",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_mistakes_get_one_clear_line(capsys, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert MISTAKES[arguments] in err
    assert "Traceback" not in out + err


def test_no_network_and_no_files_says_what_to_fetch(capsys, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    status, _, err = run(
        capsys, "rotmnist-p4cnn", "--raw-dir", str(empty), "--data-dir", str(tmp_path / "data"),
        "--run", str(tmp_path / "run"), "--parallel", "jit",
    )  # fmt: skip
    assert status == 2
    assert "train-images-idx3-ubyte.gz" in err
    assert "name it: --raw-dir DIR for python -m train" in err


def test_a_folder_with_something_in_it_is_not_overwritten(capsys, tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    status, _, err = run(capsys, "digits-p4cnn", "--run", str(tmp_path))
    assert status == 2
    assert "is not empty; continue it with `--resume" in err


def test_the_main_job_cannot_be_continued_with_other_files(capsys, tmp_path):
    Run.create(PRESETS["digits-z2cnn"][1], tmp_path / "z2cnn")
    for option in ("--data", "--raw-dir", "--data-dir"):
        status, _, err = run(capsys, "--resume", str(tmp_path), option, "x")
        assert status == 2 and f"reads no files: leave out {option}" in err


def test_configuration_survives_a_round_trip(tmp_path):
    config = Config(raw_dir=tmp_path, epochs=7, width=3, augment="jitter", run=tmp_path / "r")
    assert Config.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="unknown settings in the configuration: color"):
        Config.from_json(config.to_json().replace('"epochs"', '"color"'))
