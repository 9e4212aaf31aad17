"""What a user is told of an error."""

import errno
import os
import re
import sqlite3
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

from src.cli.command import check_options, check_text, explain_error, is_given, show_one
from src.config import CONF, build
from tests.support.commands import ROOT


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOENT, "No such file or directory", "/nowhere"), "No such file or directory: /nowhere"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/roc.png"),
            "No space left on device: /x/roc.png; free space: descriptors made so far are kept for the next run",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/a.png"),
            "Permission denied: /x/a.png; ask for the right to it, or take a copy of your own",
        ),
        (sqlite3.OperationalError("database is locked"), "a database cannot be used: database is locked"),
        (
            sqlite3.OperationalError("database or disk is full"),
            "a database cannot be used: database or disk is full; free space, or choose another workspace=FOLDER",
        ),
        (MemoryError(), "out of memory: too much is held at once"),
        (ZeroDivisionError("division by zero"), ""),
    ],
    ids=lambda value: value or "ours" if isinstance(value, str) else type(value).__name__,
)
def test_an_error_of_the_users_machine_is_told_with_its_way_out(error: Exception, said: str) -> None:
    assert explain_error(error) == said


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


@pytest.mark.parametrize(
    ("name", "override", "said"),
    [
        (
            "config",
            "encoder=mobilnet",
            r"^Could not find 'encoder/mobilnet'; the options .*; did you mean mobilenet\?$",
        ),
        ("config", "stian=none", r"^there is no stian; the keys of this command are .*; did you mean stain\?$"),
        ("config", "crop.sise=3", r"^there is no crop\.sise; the keys of crop are .*; did you mean size\?$"),
        ("config", "hydra/luncher=joblib", r"did you mean hydra/launcher\?$"),
        ("config", "crop.size=big", r"^crop\.size=big: crop\.size is a whole number$"),
        ("config", "pool.p=three", r"^pool\.p=three: pool\.p is a number, such as 0\.5"),
        ("config", "data.convert=maybe", r"^data\.convert=maybe: data\.convert is true or false$"),
        ("config", "seeds=5", r"^seeds=5: seeds is a list, of one or of several: \[A\] or \[A,B\]$"),
        ("config", "seeds=[0,b]", r"^seeds=\[0,b\]: seeds\[1\] is a whole number$"),
        ("config", "finetune.phases={a: 1}", r": finetune\.phases is a list, of one or of several"),
        ("config", "data.root=null", r"^data\.root=null: data\.root is a value, which null is not$"),
        ("fuse", "runs=A", r"^runs=A: runs is a list, of one or of several"),
        (
            "config",
            "binary=3",
            r"^binary=3: binary is a dictionary of positive, reduce, thresholds: {positive: VALUE}$",
        ),
        ("config", "binary=[a]", r"^binary=\[a\]: binary is a dictionary of positive, reduce, thresholds"),
        ("config", "encoder.arguments=[a]", r": encoder\.arguments is a dictionary: {KEY: VALUE}$"),
        ("config", "name=[a]", r"^name=\[a\]: name is one text, which needs quotes"),
        ("config", "seeds=[null]", r": seeds\[0\] is a whole number$"),
        ("config", "finetune.phases=[a]", r": finetune\.phases\[0\] is a dictionary of trainable, epochs"),
        ("config", "finetune.phases=[{epochs: x}]", r": finetune\.phases\.epochs is a whole number$"),
        ("config", "finetune.phases=[{epoch: 3}]", r"^there is no finetune\.phases\.epoch; .*did you mean epochs\?$"),
        ("config", "finetune.transforms=[a]", r": finetune\.transforms\[0\] is a dictionary: {KEY: VALUE}$"),
        ("config", "finetune.transforms=[[a]]", r": finetune\.transforms is a dictionary|\[0\] is a dictionary"),
        ("config", "crop=mine/one", r"^Could not find 'crop/mine/one'; the options of crop are centre, "),
        ("config", "search=knn", r"^this command has no group search: --help lists those that it has$"),
        (
            "config",
            "pool.p=1,3",
            r"^`pool\.p=1,3` is several values: pool\.p=\[1,3\] is a list .*, 'pool\.p=\"1,3\"' is one text$",
        ),
        ("fuse", "swep=x", r"^there is no swep; .*did you mean sweep\?$"),
    ],
)
def test_a_mistyped_option_gets_what_was_meant(name: str, override: str, said: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(HydraException) as raised:
        compose(name, [override])
    assert re.search(said, explain_error(raised.value))


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


def test_what_is_missing_is_asked_for_with_its_options() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("download")
    with pytest.raises(MissingMandatoryValue) as raised:
        build(config)
    assert explain_error(raised.value).startswith(
        "data is missing: give it on the command line: data=..., one of bach, "
    )


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/data/x"), "No space left on device: /data/x"),
        (PermissionError(13, "Permission denied", "/root/x"), "Permission denied: /root/x"),
        (KeyError("ours"), ""),
        (ValueError("a library's"), ""),
    ],
)
def test_mistakes_of_users_and_ours_are_told_apart(error: Exception, said: str) -> None:
    assert explain_error(error).startswith(said)
    assert bool(explain_error(error)) == bool(said)
