"""What `python -m src.compare` shows and writes."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from src.cli.terminal import console, print_table, say
from src.evaluation.text_tables import (
    TextTable,
    tabulate_against,
    tabulate_comparison,
    tabulate_ledger,
    to_latex,
    to_markdown,
)
from src.evaluation.verdicts import explain_verdicts
from src.evaluation.wording import capital
from src.system.files import replace_file

if TYPE_CHECKING:
    import pandas as pd

MAIN = ("model", "metric", "verdict", "difference (95 %)", "p adj.", "could show")
"""The columns of a comparison that a narrow terminal shows."""


@dataclass(kw_only=True)
class VerdictPart:
    """Runs on the same cases and folds: what each is against the reference, and what habits would have claimed."""

    title: str
    comparison: "pd.DataFrame"
    primary: str
    ledger: "pd.DataFrame"
    notes: list[str]

    def verdicts(self, title: str) -> TextTable:
        """Return the comparison as a table, with how it is read; `title` is that of all that is compared."""
        against = self.comparison["reference"].iloc[0]
        caption = f"{' '.join(filter(None, [title, self.title]))}: each against {against}"
        return tabulate_comparison(self.comparison, caption, notes=explain_verdicts(self.comparison, self.primary))

    @property
    def claims(self) -> TextTable:
        """The entries of the ledger that have an honest figure."""
        return tabulate_ledger(self.ledger, "optimism ledger: accuracy, %")

    @property
    def lacking(self) -> list[str]:
        """A line on each entry of the ledger that has none."""
        rows = self.ledger[self.ledger["honest"].isna()].to_dict("records")
        return [f"{row['practice']}, {row['model']}: {row['note']}" for row in rows]


@dataclass(kw_only=True)
class Compared:
    """What the command shows and writes."""

    title: str
    parts: list[VerdictPart]
    published: "pd.DataFrame | None" = None
    left: list[str] = field(default_factory=list)
    """What could not be compared."""

    @property
    def against(self) -> TextTable | None:
        """Our figures against published ones, where there are some."""
        return None if self.published is None else tabulate_against(self.published, "ours against the published, %")


def show_comparison(result: Compared) -> None:
    """Print the tables and what their reader has to know."""
    terminal = console()
    for part in result.parts:
        claims = part.claims
        print_table(fit_terminal(part.verdicts(result.title), terminal.width))
        for note in part.notes:
            terminal.print(f"note: {note}", style="yellow")
        if claims.rows:
            print_table(claims)
        for line in part.lacking:
            terminal.print(line, soft_wrap=True)  # commands are copied
    if result.against is not None:
        print_table(result.against)
        terminal.print("the interval takes the published figure to vary as ours does, on patients of its own")
    for line in result.left:
        say(line)


def fit_terminal(table: TextTable, width: int) -> TextTable:
    """Return a comparison, in a terminal that is too narrow the columns that the verdict hangs on."""
    widest = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    if sum(widest) + 3 * len(widest) + 1 <= width:
        return table
    hint = "a wider terminal shows the other tests, output=FOLDER writes them"
    return replace(table.select(dict(zip(MAIN, MAIN, strict=True))), notes=[hint, *table.notes])


def write_comparison(result: Compared, folder: Path) -> None:
    """Write comparison as CSV, Markdown and LaTeX, optimism.csv, and published.csv where something is published."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    several = len(result.parts) > 1
    for name, attribute in (("comparison", "comparison"), ("optimism", "ledger")):
        found = [getattr(part, attribute) for part in result.parts]
        if several:
            found = [table.assign(group=part.title) for part, table in zip(result.parts, found, strict=True)]
        replace_file(folder / f"{name}.csv", pd.concat(found).round(6).to_csv(index=False).encode())
    if result.published is not None:
        replace_file(folder / "published.csv", result.published.round(4).to_csv(index=False).encode())
    replace_file(folder / "comparison.md", describe_comparison(result).encode())
    latex = "\n".join(to_latex(part.verdicts(result.title)) for part in result.parts)
    replace_file(folder / "comparison.tex", latex.encode())


def describe_comparison(result: Compared) -> str:
    """Return all that is shown as Markdown."""
    blocks = []
    for part in result.parts:
        verdicts, claims = part.verdicts(result.title), part.claims
        blocks += [f"# {verdicts.caption}\n", to_markdown(verdicts), *(f"{note}\n" for note in part.notes)]
        blocks += [f"## {capital(claims.caption)}\n", *([to_markdown(claims)] if claims.rows else [])]
        blocks += [f"{line}\n" for line in part.lacking]
    if result.against is not None:
        blocks += [f"## {capital(result.against.caption)}\n", to_markdown(result.against)]
    return "\n".join(blocks)
