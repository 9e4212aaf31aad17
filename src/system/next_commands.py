"""Commands that a user may type next, with what the running one was told of where things are."""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class Surroundings:
    """What every command after the running one has to be told, too."""

    options: list[str] = field(default_factory=list)
    """Those of Hydra, such as --config-dir."""
    workspace: str = ""
    """Another than the usual one."""
    tracking: list[str] = field(default_factory=list)
    """The overrides that say where runs are, unless they are in the workspace."""

    root: list[str] = field(default_factory=list)
    """The override that says where the data are, if there is one."""

    @property
    def overrides(self) -> list[str]:
        """What any command takes."""
        return ([override("workspace", self.workspace)] if self.workspace else []) + self.tracking

    def tell(self, options: Iterable[str], workspace: str, tracking: Iterable[str], root: Iterable[str]) -> None:
        """Take over what the command that begins was told."""
        self.options, self.workspace = list(options), workspace
        self.tracking, self.root = list(tracking), list(root)


HERE = Surroundings()
"""Those of this process: its command tells it once (`src.cli.command`), and any message may then name a command."""


def next_command(program: str, *overrides: str) -> str:
    """Return a command for the shell, with what this process was told of where things are.

    Of a key that is given twice the last value stands, once.
    """
    own = {key_of(override): override for override in overrides}
    others = {key_of(override): override for override in HERE.overrides}
    if program == "sync":  # which sends, where this process kept
        others.pop("tracking.offline", None)
    words = [*HERE.options, *own.values(), *(value for key, value in others.items() if key not in own)]
    return " ".join([f"python -m src.{program}", *map(shlex.quote, words)])


def download_command(data: str) -> str:
    """Return the command that fetches a data set to where it was looked for."""
    return next_command("download", f"data={data}", *HERE.root)


def after_run(name: str, run: str) -> str:
    """Return what a run that is alone ends with: its id, and what may be done with it."""
    return list_commands(
        f"{name} is run {run}",
        {
            "as one page": next_command("report", f"runs=[{run}]", "output=FILE.html"),
            "on new images": next_command("predict", f"model={run}", "input=FOLDER", "output=FILE.csv"),
            "against another": next_command("compare", f"runs=[{run},OTHER]"),
        },
    )


def after_sweep(name: str, sweep: str, cells: int) -> str:
    """Return what a sweep of so many finished cells ends with: its id, and what may be done with it."""
    compare = {"cell against cell": next_command("compare", f"sweep={sweep}")} if cells > 1 else {}
    page = {"as one page": next_command("report", f"sweep={sweep}", "output=FILE.html")}
    mean = {"on new images": next_command("predict", f"model={sweep}", "input=FOLDER", "output=FILE.csv")}
    again = {"fused again": next_command("fuse", f"sweep={sweep}")}
    return list_commands(f"{name} is sweep {sweep}", compare | page | mean | again)


def list_commands(title: str, commands: Mapping[str, str]) -> str:
    """Return commands by what they do, one to a line; at the end those that show all runs."""
    workspace = f" WORKSPACE={shlex.quote(HERE.workspace)}" if HERE.workspace else ""
    pages = {} if HERE.tracking else {"in MLflow": f"make ui{workspace}"}
    lines = {**commands, "all runs": next_command("runs"), **pages}
    return "\n".join([f"{title}; what may come next:", *(f"  {does:<18}{each}" for does, each in lines.items())])


def key_of(override: str) -> str:
    """Return the key of an override, `~key` and `+key=value` being of it, too."""
    return override.lstrip("+~").partition("=")[0]


def override(key: str, value: str) -> str:
    """Return an override that gives a key a value, as Hydra's grammar takes it."""
    if value == "None":
        return f"{key}=null"
    if value[:1] in ("[", "{"):
        return f"{key}=" + re.sub(r"'(\w+)':", r"\1:", value)  # names in Hydra's grammar have no quotes
    if re.fullmatch(r"[\w/.:+@%-]*", value, re.ASCII):  # Hydra's grammar has no other letters without quotes
        return f"{key}={value}"
    return f"{key}={quoted_value(value)}"


def quoted_value(text: str) -> str:
    """Return a text with the quotes that make it one value in Hydra's grammar."""
    escaped = re.sub(r"\\(?=\\*('|\Z))", r"\\\\", text).replace("'", r"\'")
    return f"'{escaped}'"
