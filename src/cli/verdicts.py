"""What `python -m src.compare` shows and writes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from src.cli.terminal import console, plain_table, say
from src.evaluation.fold_tables import markdown
from src.evaluation.wording import number, p_value, scale, signed, spread, titled
from src.system.files import replace

if TYPE_CHECKING:
    import pandas as pd

MAIN = ["model", "metric", "verdict", "difference (95 %)", "p Holm", "could show"]
"""The columns of a comparison that a narrow terminal shows."""


@dataclass(kw_only=True)
class VerdictPart:
    """Runs on the same cases and folds: what each is against the reference, and what habits would have claimed."""

    title: str
    comparison: "pd.DataFrame"
    ledger: "pd.DataFrame"
    notes: list[str]


@dataclass(kw_only=True)
class Compared:
    """What the command shows and writes."""

    title: str
    parts: list[VerdictPart]
    published: "pd.DataFrame | None" = None
    left: list[str] = field(default_factory=list)
    """What could not be compared."""


def show_comparison(result: Compared) -> None:
    """Print the tables and what their reader has to know."""
    terminal = console()
    for part in result.parts:
        full = verdicts(part.comparison)
        header, rows = fitting(*full, terminal.width)
        title = " ".join([result.title, *filter(None, [part.title])])
        against = part.comparison["reference"].iloc[0]
        terminal.print(plain_table(f"{title}: each against {against}", header, rows, text=3))
        if len(header) < len(full[0]):
            terminal.print("a wider terminal shows the other tests, output=FOLDER writes them")
        for line in explained(part.comparison):
            terminal.print(line)
        for note in part.notes:
            terminal.print(f"note: {note}", style="yellow")
        header, rows, lacking = claims(part.ledger)
        if rows:
            terminal.print(plain_table("optimism ledger: accuracy, %", header, rows, text=2))
        for line in lacking:
            terminal.print(line, soft_wrap=True)  # commands are copied
    if result.published is not None:
        terminal.print(plain_table("ours against the published, %", *published_rows(result.published), text=3))
        terminal.print("the interval takes the published figure to vary as ours does, on patients of its own")
    for line in result.left:
        say(line)


def verdicts(table: "pd.DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a comparison: areas as fractions, all else in percent and points."""
    header = ["model", "metric", "verdict", "value", "ref.", "difference (95 %)", "p Holm", "p boot."]
    header += ["McNemar", "resampled t", "could show"]
    rows = []
    for row in table.to_dict("records"):
        unit, digits = scale(row["metric"])
        figures = [number(unit * row[name], digits) for name in ("value", "reference_value")]
        p = [p_value(row[f"p_{name}"]) for name in ("holm", "bootstrap", "mcnemar", "resampled_t")]
        difference = signed(unit * row["difference"], unit * row["low"], unit * row["high"], digits)
        least = number(unit * row["smallest"], digits)
        rows.append([row["model"], titled(row["metric"]), row["verdict"], *figures, difference, *p, least])
    return header, rows


def fitting(header: list[str], rows: list[list[str]], width: int) -> tuple[list[str], list[list[str]]]:
    """Return a comparison's header and rows, in a terminal that is too narrow those that the verdict hangs on."""
    widest = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    if sum(widest) + 3 * len(header) + 1 <= width:
        return header, rows
    kept = [header.index(name) for name in MAIN]
    return MAIN, [[row[place] for place in kept] for row in rows]


def explained(table: "pd.DataFrame") -> list[str]:
    """Return how a comparison is read."""
    lines = [
        "better, worse: p Holm is at most 0.05: p boot. (the larger of a bootstrap over patients and of a test that "
        f"allows for the luck of folds), corrected over {table['p_bootstrap'].notna().sum()} rows",
        "accuracies are in % and points, areas fractions; intervals are of 95 %, paired, by bootstrap over patients",
    ]
    if (table["verdict"] == "not shown").any():
        lines.append(
            "not shown is not equal: so many patients show a true difference of the size under `could show` in 4 of 5 "
            "studies (-: none that is possible)"
        )
    return lines


def claims(ledger: "pd.DataFrame") -> tuple[list[str], list[list[str]], list[str]]:
    """Return header and rows of the entries of a ledger that have figures, and a line on each other one."""
    header = ["practice", "model", "claimed", "honest", "optimism (95 %)", "note"]
    rows, lines = [], []
    for row in ledger.to_dict("records"):
        if row["claimed"] != row["claimed"]:
            lines.append(f"{row['practice']}, {row['model']}: {row['note']}")
            continue
        optimism = signed(row["optimism"], row["low"], row["high"])
        figures = [number(row["claimed"]), number(row["honest"]), optimism]
        rows.append([row["practice"], row["model"], *figures, row["note"]])
    return header, rows, lines


def published_rows(table: "pd.DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return header and rows of our figures against published ones."""
    rows = []
    for row in table.to_dict("records"):
        name = f"{row['model']} {row['group']}" if row["group"] else row["model"]
        figures = [spread(row["published"], row["published_std"]), number(row["ours"])]
        difference = signed(row["difference"], row["low"], row["high"])
        rows.append([name, row["metric"], row["verdict"], *figures, difference, row["note"]])
    return ["model", "metric", "verdict", "published", "ours", "difference (95 %)", "note"], rows


def write_comparison(result: Compared, folder: Path) -> None:
    """Write comparison.csv, comparison.md and optimism.csv, and published.csv where there is something published."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    several = len(result.parts) > 1
    for name, attribute in (("comparison", "comparison"), ("optimism", "ledger")):
        found = [getattr(part, attribute) for part in result.parts]
        if several:
            found = [table.assign(group=part.title) for part, table in zip(result.parts, found, strict=True)]
        replace(folder / f"{name}.csv", pd.concat(found).round(6).to_csv(index=False).encode())
    if result.published is not None:
        replace(folder / "published.csv", result.published.round(4).to_csv(index=False).encode())
    replace(folder / "comparison.md", to_markdown(result).encode())


def to_markdown(result: Compared) -> str:
    """Return all that is shown as Markdown."""
    blocks = []
    for part in result.parts:
        header, rows = verdicts(part.comparison)
        title = " ".join([result.title, *filter(None, [part.title])])
        blocks += [f"# {title}: each against {part.comparison['reference'].iloc[0]}\n", markdown(header, rows, text=3)]
        blocks += [f"{line}\n" for line in explained(part.comparison) + part.notes]
        header, rows, lacking = claims(part.ledger)
        blocks += ["## Optimism ledger: accuracy, %\n"] + ([markdown(header, rows, text=2)] if rows else [])
        blocks += [f"{line}\n" for line in lacking]
    if result.published is not None:
        blocks += ["## Ours against the published, %\n", markdown(*published_rows(result.published), text=3)]
    return "\n".join(blocks)
