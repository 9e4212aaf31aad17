"""What comes in at the edge of a command."""

import os
import re
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from src.cli.command import check_options, check_text, is_given, show_one
from src.config import CONF
from tests.support.commands import ROOT


@pytest.mark.parametrize(
    ("override", "found"),
    [("binary.positive=[a]", True), ("++binary.positive=[a]", True), ("output=binary", False), ("name=x", False)],
)
def test_what_is_given_on_the_command_line(monkeypatch: pytest.MonkeyPatch, override: str, found: bool) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config" if "name" in override else "fuse", [override], return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    HydraConfig.instance().set_config(config)
    assert is_given("binary") == found


def test_who_stops_reading_is_told_nothing() -> None:
    command = f"{sys.executable} -m src.run --help | head -1; exit ${{PIPESTATUS[0]}}"
    told = subprocess.run(["bash", "-c", command], cwd=ROOT, check=False, capture_output=True, text=True)
    assert told.stdout.startswith("Predict every case out of fold")
    assert told.stderr == ""


def test_threads_sleep_while_they_wait() -> None:
    """OpenMP itself says how long they spin, in a command that imports PyTorch."""
    code = "from src.cli.command import command; command(lambda config: __import__('torch'), 'sync')"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP"))}
    environment["OMP_DISPLAY_ENV"] = "VERBOSE"
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "GOMP_SPINCOUNT = '0'" in told.stderr


def test_a_config_is_shown_with_what_follows_from_the_architecture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "--cfg", "job", "encoder=mobilenet"])
    with pytest.raises(SystemExit) as ended:
        show_one("config")
    text = capsys.readouterr().out
    shown = OmegaConf.create(text)
    assert not ended.value.code
    assert (shown.encoder.label, shown.encoder.tag) == ("MobileNet", "ra_in1k")
    assert shown.encoder.known == {"mobilenetv2_100": {}}
    assert "store: ${workspace}/store" in text
    for others in (["--cfg", "job", "--package", "encoder"], ["--cfg", "hydra"]):
        monkeypatch.setattr(sys, "argv", ["run", *others, "encoder=mobilenet"])
        show_one("config")  # which Hydra shows


@pytest.mark.parametrize("arguments", [["crop=224"], ["-m", "data=demo", "crop=whole,224"]])
def test_a_number_is_no_option_of_a_group(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^`crop` is one of centre, .*, but got crop=224: .* crop\.KEY=224; --help"):
        check_options(arguments)
    check_options(["~experiment", "-m", "crop=half224,whole", "encoder=glob(*)", "seed=3", "~experiment", "+x=1"])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("crop=[half224,whole]", "but got crop=[half224,whole]: a group has one option, crop=A, or with -m a cell for"),
        ("crop=", "but got crop=: a group has one option; leave it out for the usual one"),
        ("crop=''", "but got crop='': a group has one option"),
        ("encoder=null", "but got encoder=null: a group has one option"),
    ],
)
def test_an_option_of_a_group_is_a_name(option: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check_options(["data=demo", option])
    check_options(["crop={size: 3}", "binary={positive: [a]}"])


def test_arguments_are_text() -> None:
    check_text(["data.root=/images/K\u00e4the"])
    with pytest.raises(ValueError, match=r"UTF-8, but one is data\.root=/\\xff\\xfe: rename"):
        check_text(["data=folder", os.fsdecode(b"data.root=/\xff\xfe")])
