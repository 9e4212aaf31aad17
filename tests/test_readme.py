"""What is written for users: links lead somewhere, commands exist, and every option and value is described."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from src.config import COMMANDS, CONF
from src.operators import operators
from tests.support.commands import ROOT

FOLDERS = ("", "conf", "src", "docker")
PAGES = [ROOT / "CONTRIBUTING.md", *(ROOT / name / "README.md" for name in FOLDERS)]
PAGES += sorted(ROOT.glob("experiments/*/README.md"))
OPTIONS = (CONF / "README.md").read_text()
AT_A_GLANCE = OPTIONS.partition("## Groups at a glance")[2].partition("\n## ")[0]
SCHEMAS = [*COMMANDS, *(kind for kind in operators().values() if kind.__module__.startswith("src."))]
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_and_commands_exist(page: Path) -> None:
    text = page.read_text()
    for address in re.findall(r"\]\(([^)\s]+)\)", text):
        if not address.startswith(("http://", "https://")):
            name, _, heading = address.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), address
            assert not heading or heading in anchors(target), address
    for command in re.findall(r"python -m src\.(\w+)", text):
        assert command == "NAME" or (ROOT / "src" / f"{command}.py").is_file(), command


@pytest.mark.parametrize(
    "group", sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")
)
def test_every_option_is_described(group: str) -> None:
    (row,) = re.findall(rf"^\| `{group}` \| (.*) \|$", AT_A_GLANCE, re.MULTILINE)
    assert {path.stem for path in (CONF / group).glob("*.yaml")} <= set(re.findall(r"`(\w+)`", row))


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_value_is_described(schema: type) -> None:
    described = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", OPTIONS))))
    assert {field.name for field in fields(schema)} <= described
