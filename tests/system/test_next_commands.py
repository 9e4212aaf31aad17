"""Commands that are named to the user: what they carry, how they are quoted, and what a run and a sweep end with."""

import shlex
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from src.cli.command import adopt_places
from src.config import CONF
from src.data.sets.bach import Bach
from src.system.next_commands import HERE, after_run, after_sweep, next_command, override, quoted_value


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """What a process that is no command was told: nothing."""
    yield
    HERE.tell([], "", [], [])


def told(*overrides: str, config: str = "config") -> None:
    """Begin a command that was told so."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(config, [*overrides], return_hydra_config=True)
    adopt_places(composed, composed.hydra)


def test_what_is_as_usual_is_not_said() -> None:
    told("encoder=vgg")
    assert next_command("fuse", "sweep=abc") == "python -m src.fuse sweep=abc"
    assert "make ui\n" in f"{after_run('VGG-224', 'abc')}\n"


def test_a_command_says_where_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    told("workspace='/tmp/Study (1)'", "tracking=server", "tracking.experiment=ours", "encoder=vgg")
    command = next_command("report", "runs=[abc]")
    assert shlex.split(command)[3:] == [
        "runs=[abc]",
        "workspace='/tmp/Study (1)'",
        "tracking=server",
        "tracking.experiment=ours",
    ]
    ends = after_run("VGG-224", "abc")
    assert all("tracking=server" in line for line in ends.splitlines()[1:])
    assert "make ui" not in ends  # whose runs are the workspace's


def test_no_key_stands_twice() -> None:
    told("workspace=w", "tracking.offline=true")
    assert next_command("run", "tracking.offline=false", "data=csv", "pool.p=1", "data=csv") == (
        "python -m src.run tracking.offline=false data=csv pool.p=1 workspace=w"
    )


def test_what_sends_is_not_told_to_keep() -> None:
    told("workspace=w", "tracking.offline=true")
    assert next_command("predict") == "python -m src.predict workspace=w tracking.offline=true"
    assert next_command("sync") == "python -m src.sync workspace=w"


def test_what_a_sweep_ends_with_can_be_typed() -> None:
    told("workspace='a b'")
    lines = after_sweep("two sizes", "abc", 2).splitlines()
    assert lines[0] == "two sizes is sweep abc; what may come next:"
    parser = OverridesParser.create()
    for line in lines[1:-1]:
        words = shlex.split(line[line.index("python") :])
        given = {each.get_key_element(): each.value() for each in parser.parse_overrides(words[3:])}
        assert given["workspace"] == "a b"
    assert lines[-1].endswith("make ui WORKSPACE='a b'")
    assert "src.compare" not in after_sweep("one", "abc", 1)


def test_what_fetches_data_puts_them_where_they_were_looked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    told("data=bach", f"data.root={empty}", "workspace=w")
    with pytest.raises(ValueError, match=f"`python -m src.download data=bach data.root={empty} workspace=w` fetches"):
        Bach(root=str(empty)).manifest()


@given(value=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8))
def test_hydra_reads_a_value_as_it_was(value: str) -> None:
    if value[0] in "[{" or value.lower() in ("none", "null"):
        return
    (read,) = OverridesParser.create().parse_overrides([override("workspace", value)])
    found = read.value()
    assert found == value or str(found).lower() == value.lower() or float(str(found)) == float(value)


@given(text=st.text(alphabet=st.sampled_from("\\'\"a \n=,[é"), max_size=8))
def test_hydra_reads_quoted_text_as_it_was(text: str) -> None:
    (read,) = OverridesParser.create().parse_overrides([f"key={quoted_value(text)}"])
    assert str(read.value()) == text
