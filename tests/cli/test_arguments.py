"""What is typed behind a command becomes what Hydra takes; what cannot is named, with how to type it."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from src.cli.arguments import config_to_show, order_arguments, split_arguments
from src.config import CONF, build
from src.training.parameters import FineTuning


def value(argument: str, *options: str) -> object:
    """The value that Hydra takes from an argument."""
    return OverridesParser.create().parse_override(order_arguments([*options, argument])[-1]).value()


PATHS = [
    "Study (1)",
    "a=b",
    "a[1]",
    "a{1}",
    "Präparate",
    "it's",
    'the "new" ones',
    "a & b; c",
    "a, (b)",
    "a#b!",
    "50%",
    "x",
]


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_taken_as_it_is(name: str) -> None:
    assert value(f"data.root=/x/{name}") == f"/x/{name}"
    if "," not in name:
        assert value(f"data.root=/x/{name}", "-m") == f"/x/{name}"


def test_a_path_with_commas_is_one_where_it_exists(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    assert value(f"data.root={folder}") == str(folder)
    assert order_arguments(["-m", f"data.root={folder}"])[-1] == f"data.root={folder}"  # two cells


def test_a_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me (1)")
    assert value("data.root=~/images") == "/home/me (1)/images"


UNCHANGED = [
    "a=1",
    "a=",
    "a=b,c",
    "a=[b,c]",
    "a={b: c}",
    "a='x (1)'",
    "~a",
    "++a=x y",
    "a=range(1,4)",
    "a=${b.c}",
    "a/b=c",
]


@pytest.mark.parametrize("argument", UNCHANGED)
def test_what_hydra_understands_is_left_to_it(argument: str) -> None:
    for options in ([], ["-m"], ["--config-dir", "a (1)"]):
        assert order_arguments([*options, argument]) == [*options, argument]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["data.root=/x/Study", "(1)"],
            "`data.root=/x/Study (1)` into 2: put quotes around it: 'data.root=/x/Study (1)'",
        ),
        (["encoder"], "`encoder` is no KEY=VALUE"),
        (["-m", "data.root=/x (1),/y"], "`data.root=/x (1),/y` is not understood: .*'data.root=\"/x (1),/y\"'"),
        (["crop.size=[1,2"], "`crop.size=[1,2` is not understood: .*a list is [A,B]"),
        (["binary.positive=[G2+ [x]]"], "`binary.positive=[G2+ [x]]` is not understood"),
        (["crop.size=range(1,"], "`crop.size=range(1,` is not understood"),
        (["pool.p==3"], "`pool.p==3` is not understood"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_means_nothing_is_named_with_how_to_type_it(arguments: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said).replace(re.escape(".*"), ".*")) as raised:
        order_arguments(arguments)
    for advised in re.findall(r"'[a-z.]+=.*?'(?=[;,]|$)", str(raised.value)):
        (typed,) = shlex.split(advised)
        assert order_arguments(["-m", typed])[-1] == typed or " (1)" in typed


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        (["-m", "classifier=logistic,", "knn"], "classifier=logistic,knn"),
        (["-m", "classifier=logistic", ",", "knn", "pool.p=1,3"], "classifier=logistic,knn"),
        (["encoder=vgg", "data.root", "=", "X"], "data.root=X"),
        (["encoder=vgg", "data.root", "=X", "pool.p=3"], "data.root=X"),
        (["data.root=", "X"], "data.root=X"),
        (["seeds=[0,", "1]"], "seeds=[0,1]"),
        (["data.columns={sample:", "file}"], "data.columns={sample: file}"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_shell_parted_at_blanks_is_put_together(arguments: list[str], typed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f": {shlex.quote(typed)}") + "$"):
        order_arguments(arguments)
    order_arguments(["-m", typed])


def test_a_value_after_a_comma_is_asked_for() -> None:
    with pytest.raises(ValueError, match="after a comma comes another value, without a blank: pool.p=1,VALUE"):
        order_arguments(["-m", "pool.p=1,", "crop=whole"])


@pytest.mark.parametrize("again", ["data.root=B", "+data.root=B", "++data.root=B", "data.root=A"])
def test_a_key_is_given_once(again: str) -> None:
    said = f"data.root twice: `data.root=A` and `{again}`: take one away"
    with pytest.raises(ValueError, match=re.escape(said)):
        order_arguments(["data=folder", "data.root=A", again])


def test_a_group_and_a_value_of_it_are_two_keys() -> None:
    typed = ["crop=half224", "crop.size=3", "~finetune.phases", "finetune.phases=[]", "hydra/launcher=joblib"]
    assert order_arguments(typed) == typed


def test_options_and_overrides_may_be_in_any_order() -> None:
    typed = ["a=1", "--cfg", "job", "b=2", "-m", "--config-dir", "c=3"]
    assert split_arguments(typed) == (["--cfg", "job", "-m", "--config-dir", "c=3"], ["a=1", "b=2"])


def test_of_a_sweep_the_first_cells_config_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "my configs (1)"
    (folder / "crop").mkdir(parents=True)
    (folder / "crop" / "mine.yaml").write_text("defaults: [/schema/Crop@_here_]\nsize: 7\n")
    given = ["--cfg", "job", "-m", "--config-dir", str(folder), "pool.p=2,3", "crop=mine"]
    config, arguments, cells = config_to_show(given, "config", CONF)
    assert (config.pool.p, config.crop.size, cells) == (2, 7, 2)
    assert arguments == ["--cfg", "job", "--config-dir", str(folder), "pool.p=2", "crop=mine"]
    config, _, cells = config_to_show(["-m", "-c", "job", "experiment=demo", "encoder=vgg"], "config", CONF)
    assert (config.encoder.architecture, config.crop.size, cells) == ("vgg16", 48, 2)


def test_transforms_can_be_typed_as_they_are_documented() -> None:
    for text in (str(FineTuning.__doc__), (CONF / "README.md").read_text()):
        (documented,) = re.findall(r"`('finetune\.transforms=.*?')`", text, re.DOTALL)
        (argument,) = shlex.split(documented)
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", order_arguments(["method=finetune", argument]))
        assert build(config).finetune.transforms == [{"HorizontalFlip": {"p": 0.5}}, {"Rotate": {"limit": 30, "p": 1}}]
