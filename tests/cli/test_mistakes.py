"""What a user is told of an error."""

import errno
import re
import sqlite3
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import MissingMandatoryValue

from src.cli.mistakes import explain_error
from src.config import CONF, build


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
            r"^binary=3: binary is a dictionary of positive, reduce, thresholds, prevalence: {positive: VALUE}$",
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


def test_what_is_missing_is_asked_for_with_its_options() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("download")
    with pytest.raises(MissingMandatoryValue) as raised:
        build(config)
    assert explain_error(raised.value).startswith(
        "data is missing: give it on the command line: data=..., one of bach, "
    )


def test_options_of_ones_own_are_among_those_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "biopsies.yaml").write_text("defaults: [/schema/Folder@_here_]\n")
    monkeypatch.setattr("sys.argv", ["run", "--config-dir", str(tmp_path)])
    error = MissingMandatoryValue("missing")
    error.full_key = "data"
    assert "one of bach, biopsies, breakhis" in explain_error(error)


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
