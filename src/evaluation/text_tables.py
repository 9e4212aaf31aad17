"""What tables say, in texts: made once, and shown by the terminal, a report's page, Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from src.evaluation.calibration import ERROR, INTERCEPT, SLOPE, Calibration
from src.evaluation.fold_tables import mark_best, round_table
from src.evaluation.side_by_side import BALANCED, PROTOCOL, TRAINING, SideBySide, axis_title, ours_in_percent
from src.evaluation.slices import ALL, largest_values
from src.evaluation.subgroups import FEWEST
from src.evaluation.wording import (
    MISSING,
    ends,
    figures,
    measured,
    number,
    p_value,
    scale,
    signed,
    spell_seconds,
    spread,
    titled,
)

if TYPE_CHECKING:
    from src.evaluation.leaderboard import Leaderboard

BEST, GOOD, BAD, MUTED = "best", "good", "bad", "muted"
"""The tones of a table's cell; what they say stands in the cell's text, too, but for the best value of a column."""
VALUES = {"ppv": "PPV", "npv": "NPV"}
"""Predictive values, and how they are called."""
LATEX = {sign: rf"\{sign}" for sign in "&%$#_{}"} | {sign: f"${sign}$" for sign in "<>|"}
LATEX |= {"[": "{[}", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
"""Signs that LaTeX takes for something else, and how they are written."""
LUCK = "balanced accuracy +- its population deviation over the repeats: of splits drawn anew the luck of one"
VERDICTS = {"better": GOOD, "worse": BAD, "not shown": MUTED}


@dataclass(kw_only=True)
class TextTable:
    """A table of texts, in the signs of a terminal.

    text
        How many columns hold words; those after them hold figures, which stand to the right.
    last
        How many columns at the end hold words again, such as a note.
    tones
        The tone of a cell (row, column) that stands out.
    notes
        What its reader has to know, below it.
    folded
        Whether a page has it closed until it is asked for.
    """

    caption: str = ""
    header: list[str]
    rows: list[list[str]]
    text: int = 1
    last: int = 0
    tones: dict[tuple[int, int], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folded: bool = False

    def worded(self, column: int) -> bool:
        """Return whether a column holds words."""
        return column < self.text or column >= len(self.header) - self.last

    def select(self, headings: Mapping[str, str]) -> "TextTable":
        """Return the columns named, under other headings, in this order; those of words stay the first ones."""
        places = [self.header.index(name) for name in headings]
        tones = {(row, places.index(place)): tone for (row, place), tone in self.tones.items() if place in places}
        rows = [[row[place] for place in places] for row in self.rows]
        return replace(self, header=list(headings.values()), rows=rows, tones=tones)


def to_markdown(table: TextTable) -> str:
    """Return the table in Markdown, the best values bold, and its notes as paragraphs; ends with a new line."""
    rows = [
        [f"**{text}**" if table.tones.get((place, column)) == BEST else text for column, text in enumerate(row)]
        for place, row in enumerate(table.rows)
    ]
    rule = ["---"] * table.text + ["---:"] * (len(table.header) - table.text)
    lines = ["| " + " | ".join(line) + " |\n" for line in [table.header, rule, *rows]]
    return "".join([*lines, *(f"\n{note}\n" for note in table.notes)])


def to_csv(table: TextTable) -> str:
    """Return the table as CSV, its texts as they are shown; neither caption nor notes."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([table.header, *table.rows])
    return file.getvalue()


def to_latex(table: TextTable) -> str:
    """Return the table as a floating one of LaTeX, which needs the package booktabs; the best values are bold."""
    bold = {place for place, tone in table.tones.items() if tone == BEST}
    lines = [
        " & ".join(
            rf"\textbf{{{escape_latex(text)}}}" if (place, column) in bold else escape_latex(text)
            for column, text in enumerate(row)
        )
        for place, row in enumerate(table.rows)
    ]
    sides = ["l" if table.worded(column) else "r" for column in range(len(table.header))]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(table.caption)}}}",
            rf"\begin{{tabular}}{{{''.join(sides)}}}",
            r"\toprule",
            rf"{' & '.join(map(escape_latex, table.header))} \\",
            r"\midrule",
            *(rf"{line} \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\smallskip\footnotesize {escape_latex(note)}" for note in table.notes),
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Return a text as LaTeX prints it, with the signs of print for +-, and a true minus before a figure."""
    escaped = re.sub(r"[\\&%$#_{}~^<>|\[]", lambda found: LATEX[found[0]], text)
    return "--" if text == MISSING else re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped.replace("+-", r"$\pm$"))


def tabulate_folds(table: pd.DataFrame, caption: str = "") -> TextTable:
    """Return a table by fold (`src.evaluation.fold_tables`) at one decimal, as published; the best values stand out."""
    values = round_table(table).to_numpy(float)
    rows = [[str(name), *map(number, line)] for name, line in zip(table.index, values, strict=True)]
    tones = {(row, 1 + column): BEST for row, column in np.argwhere(mark_best(table)).tolist()}
    return TextTable(caption=caption, header=["model", *map(str, table)], rows=rows, tones=tones)


def tabulate_groups(together: SideBySide, caption: str = "") -> TextTable:
    """Return the groups side by side, in percent: protocols in columns with their gaps, all else in rows."""
    table, gaps = together.table, together.gaps
    axes = [str(name) for name in table.columns[1 : table.columns.tolist().index("group")]]
    protocols = [name for name in axes if name.split(".")[0] == PROTOCOL]
    others = [name for name in axes if name not in protocols]
    sides = [_protocols_title(row, protocols) for row in table.to_dict("records")]
    leaking = {side for side, leaks in zip(sides, table["leaks"], strict=True) if leaks}
    names = list(dict.fromkeys(sides))
    over = [] if gaps.empty else list(dict.fromkeys(zip(gaps["leaking"], gaps["other"], strict=True)))
    header = ["model", *("patients" if name == TRAINING else name for name in others)]
    header += [(f"{name} *" if name in leaking else name) or "accuracy" for name in names]
    header += ["gap" if len(over) == 1 else f"gap of {one} to {other}" for one, other in over]
    header += ["AUC"] if len(names) == 1 else []
    rows = []
    for key, part in table.assign(side=sides).groupby(["model", *others], sort=False):
        found = part.set_index("side").to_dict("index")
        cells = [str(key[0]), *(_value_of_axis(name, part) for name in others)]
        cells += [_accuracy(found[name]) if name in found else MISSING for name in names]
        cells += [_gap(gaps, dict(zip(["model", *others], key, strict=True)), pair) for pair in over]
        cells += [_auc(found[names[0]])] if len(names) == 1 else []
        rows.append(cells)
    words = 1 + sum(name != TRAINING for name in others)
    return TextTable(caption=caption, header=header, rows=rows, text=words, notes=_notes_on_groups(together))


def tabulate_beside(together: SideBySide, caption: str = "") -> TextTable:
    """Return published figures beside ours, in percent; ours with their deviation, as in the table by fold, of balanced
    accuracies over splits drawn anew, and their 95 % interval."""
    published = together.published
    ours = [str(name) for name in published if name not in ("model", "metric", "published", "published_std", "note")]
    noted = ["note"] if (published["note"] != "").any() else []
    rows = [
        [
            str(row["model"]),
            str(row["metric"]),
            spread(row["published"], row["published_std"]),
            *(_ours_beside(together.table, name, row) for name in ours),
            *(str(row[name]) for name in noted),
        ]
        for row in published.to_dict("records")
    ]
    header = ["model", "metric", "published", *ours, *noted]
    drawn = [LUCK] if f"{BALANCED}_std" in together.table and BALANCED in set(published["metric"]) else []
    notes = drawn + views_of_groups(together)
    return TextTable(caption=caption, header=header, rows=rows, text=2, last=len(noted), notes=notes)


def tabulate_comparison(
    table: pd.DataFrame, caption: str = "", title: Callable[[str], str] = titled, notes: list[str] | None = None
) -> TextTable:
    """Return a comparison (`src.evaluation.comparison.compare`): areas as fractions, all else in percent and points.

    `title` says how a metric is called.
    """
    rows = []
    for row in table.to_dict("records"):
        unit, digits = scale(row["metric"])
        figures = [number(unit * row[name], digits) for name in ("value", "reference_value")]
        p = [p_value(row[name]) for name in ("p", "p_adjusted", "p_mcnemar", "p_resampled_t")]
        difference = signed(unit * row["difference"], unit * row["low"], unit * row["high"], digits)
        words = [str(row["model"]), title(row["metric"]), str(row["verdict"])]
        rows.append([*words, *figures, difference, *p, number(unit * row["smallest"], digits)])
    header = ["model", "metric", "verdict", "value", "ref.", "difference (95 %)", "p", "p adj."]
    header += ["McNemar", "resampled t", "could show"]
    tones = {(place, 2): VERDICTS[row[2]] for place, row in enumerate(rows)}
    return TextTable(caption=caption, header=header, rows=rows, text=3, tones=tones, notes=notes or [])


def tabulate_external(
    table: pd.DataFrame, cohort: str, caption: str = "", title: Callable[[str], str] = titled
) -> TextTable:
    """Return what models do on their own patients and on a cohort (`src.evaluation.external.external_table`, with the
    column `model`): areas as fractions, accuracies in percent."""
    rows = []
    for row in table.to_dict("records"):
        unit, digits = scale(row["metric"])
        sides = [measured(row, name, unit, digits) for name in ("internal", "external")]
        difference = signed(*figures(row, "difference", unit), digits)
        rows.append([str(row["model"]), title(row["metric"]), *sides, difference])
    header = ["model", "metric", "held-out, own patients (95 %)", f"{cohort} (95 %)", "difference (95 %)"]
    return TextTable(caption=caption, header=header, rows=rows, text=2)


def tabulate_ledger(ledger: pd.DataFrame, caption: str = "") -> TextTable:
    """Return the entries of a ledger (`src.evaluation.optimism_ledger`) that have figures, in percent and points."""
    rows = [
        [
            str(row["practice"]),
            str(row["model"]),
            number(row["claimed"]),
            number(row["honest"]),
            signed(row["optimism"], row["low"], row["high"]),
            str(row["note"]),
        ]
        for row in ledger[ledger["honest"].notna()].to_dict("records")
    ]
    header = ["practice", "model", "claimed", "honest", "optimism (95 %)", "note"]
    return TextTable(caption=caption, header=header, rows=rows, text=2, last=1)


def tabulate_leaderboard(
    board: "Leaderboard", times: Mapping[str, tuple[float, float]], caption: str = ""
) -> TextTable:
    """Return a leaderboard: accuracies in percent, areas as fractions; `times` are seconds to learn a model and to
    predict an image, by way."""
    rows, tones = [], {}
    for place, row in enumerate(board.table.to_dict("records")):
        against = [_verdict_words(row, side) for side in ("best", "floor")]
        spent = [spell_seconds(each) for each in times.get(str(row["way"]), ())] or [MISSING] * 2
        rows.append([str(row["way"]), *against, measured(row, "accuracy", 100, 1), measured(row, "auc"), *spent])
        for column, side in enumerate(("best", "floor"), start=1):
            if tone := VERDICTS.get(str(row[f"against_{side}"])):
                tones[place, column] = tone
    header = [
        "way",
        "against the best",
        "against the floor",
        "accuracy, % (95 %)",
        "AUC (95 %)",
        "to learn",
        "an image",
    ]
    notes = [
        f"better, worse: shown by a test over folds and one over patients, p corrected for all {_pairs(len(rows))} of "
        "ways, so that the best need not be known before; not shown is not equal",
        "to learn: a model, from the images' files on; an image: to predict one; both as measured on a few images "
        "before the sweep",
    ]
    return TextTable(caption=caption, header=header, rows=rows, text=3, tones=tones, notes=notes)


def _verdict_words(row: Mapping[Any, Any], side: str) -> str:
    """Return a verdict with its p, where there is one."""
    p = row[f"p_{side}"]
    return f"{row[f'against_{side}']}" + (f" (p {p_value(p)})" if p == p else "")


def _pairs(ways: int) -> str:
    """Return how many pairs so many ways make, in words."""
    count = ways * (ways - 1) // 2
    return f"{count} pair{'s' * (count != 1)}"


def tabulate_against(table: pd.DataFrame, caption: str = "") -> TextTable:
    """Our figures against published ones (`src.evaluation.published.subtract_published`), in percent and points."""
    rows = [
        [
            f"{row['model']} {row['group']}" if row["group"] else str(row["model"]),
            str(row["metric"]),
            str(row["verdict"]),
            spread(row["published"], row["published_std"]),
            number(row["ours"]),
            signed(row["difference"], row["low"], row["high"]),
            str(row["note"]),
        ]
        for row in table.to_dict("records")
    ]
    header = ["model", "metric", "verdict", "published", "ours", "difference (95 %)", "note"]
    return TextTable(caption=caption, header=header, rows=rows, text=3, last=1)


def tabulate_slices(
    slices: pd.DataFrame, figure: Callable[[Mapping[Any, Any], str], str], title: Callable[[str], str]
) -> TextTable:
    """Return the metrics by slice (`src.evaluation.slices`); of a column with many values those with the most cases.

    `figure` says the metric of a name in a row, and `title` how it is called.
    """
    shown = largest_values(slices)
    names = [name for name in ("accuracy", "auc", "binary_auc") if name in shown]
    rows = [
        [
            "all cases" if row["column"] == ALL else str(row["column"]),
            *(str(row[name]) for name in ("value", "cases", "patients")),
            *(figure(row, name) for name in names),
        ]
        for row in shown.to_dict("records")
    ]
    said, header = differences_in_words(shown), ["", "value", "cases", "patients", *map(title, names)]
    if not any(said):
        return TextTable(header=header, rows=rows, text=2)
    rows = [[*row, words] for row, words in zip(rows, said, strict=True)]
    return TextTable(header=[*header, "do values differ? (p, Holm)"], rows=rows, text=2, last=1)


def differences_in_words(slices: pd.DataFrame) -> list[str]:
    """Return of each row of a slice table, once a column, whether figures differ between its values; and where patients
    are few."""
    if "p_accuracy" not in slices:
        return [""] * len(slices)
    said, before = [], ALL
    for row in slices.to_dict("records"):
        named = {"accuracy": row["p_accuracy"], "AUC": row["p_auc"]} if row["column"] != before else {}
        words = [f"{name} {p_value(p)}" for name, p in named.items() if p == p]
        words += ["few patients"] if row["column"] != ALL and row["fewest"] < FEWEST else []
        said.append(", ".join(words))
        before = row["column"]
    return said


def tabulate_calibration(calibrations: Mapping[str, Calibration], caption: str = "") -> TextTable:
    """Return intercept, slope and integrated index of scores, by what they are scores of; notes say what has none."""
    rows = [
        [name, *(measured(each.figures, metric, digits=2) for metric in (INTERCEPT, SLOPE, ERROR))]
        for name, each in calibrations.items()
    ]
    notes = [f"{name}: no intercept and slope: {each.reason}" for name, each in calibrations.items() if each.reason]
    header = ["scores of", "Intercept (95 %)", "Slope (95 %)", "Mean distance from the curve (95 %)"]
    return TextTable(caption=caption, header=header, rows=rows, notes=notes)


def tabulate_predictive(table: pd.DataFrame, caption: str = "") -> TextTable:
    """Return predictive values in percent, by threshold (`src.evaluation.decision_curve.predictive_values`)."""
    rows = [
        [
            number(row["threshold"], 2),
            number(100 * row["prevalence"]),
            *(measured(row, name, 100, 1) for name in VALUES),
        ]
        for row in table.to_dict("records")
    ]
    header = ["above", "Prevalence, %", *(f"{title}, % (95 %)" for title in VALUES.values())]
    return TextTable(caption=caption, header=header, rows=rows)


def describe_decision(table: pd.DataFrame) -> str:
    """Return at which thresholds acting by the score is worth more than treating everybody or nobody, in words."""
    if table.empty:
        return "no net benefit can be computed, as all cases are of one kind"
    better = table["model"] - table[["all", "none"]].max(axis=1) > 1e-12
    spans = table[better].groupby((~better).cumsum())["threshold"].agg(["min", "max"]).drop_duplicates()
    said = [f"{number(low, 2)} to {number(high, 2)}" for low, high in spans.to_numpy()]
    where = f"at thresholds of {', '.join(said)}" if said else "at no threshold"
    return f"acting by the score is worth more than treating everybody or nobody {where} (net benefit)"


def tabulate_robustness(summary: pd.DataFrame, caption: str = "", notes: list[str] | None = None) -> TextTable:
    """Return how far each perturbation may go (`src.evaluation.robustness.summarise_robustness`), in points and %."""
    models = summary["model"].unique().tolist()
    several = len(models) > 1
    rows = [
        [
            f"{row['perturbation']} ({row['unit']})",
            *([str(row["model"])] if several else []),
            _lost_at(row),
            signed(*figures(row, "accuracy_difference", 100)),
            number(row["worst"], 2).rstrip("0").rstrip("."),
            measured(row, "changed", 100, 1),
            *([signed(*figures(row, "excess_loss", 100))] if several else []),
        ]
        for row in summary.to_dict("records")
    ]
    header = ["perturbation", *(["model"] if several else []), "lost 5 points at", "most lost, points (95 %)", "at"]
    header += ["other calls there, % (95 %)", *([f"loss beyond {models[0]}'s, points"] if several else [])]
    return TextTable(caption=caption, header=header, rows=rows, text=1 + several, notes=notes or [])


def tabulate_levels(table: pd.DataFrame, caption: str = "") -> TextTable:
    """Return every level of a table of `src.evaluation.robustness.robustness_table`, in points and %."""
    rows = [
        [
            str(row["model"]),
            str(row["perturbation"]),
            f"{row['level']:g}" + (" (as it is)" if row["unchanged"] else ""),
            str(row["cases"]),
            measured(row, "accuracy", 100, 1),
            measured(row, "auc"),
            signed(*figures(row, "accuracy_difference", 100)),
            signed(*figures(row, "auc_difference"), 3),
            measured(row, "changed", 100, 1),
            measured(row, "moved"),
        ]
        for row in table.to_dict("records")
    ]
    header = ["model", "perturbation", "level", "cases", "accuracy, %", "AUC", "accuracy, points", "AUC, difference"]
    header += ["other calls, %", "change of the call's probability"]
    return TextTable(caption=caption, header=header, rows=rows, text=2)


def _lost_at(row: Mapping[Any, Any]) -> str:
    """Return the levels on both sides at which 5 points are lost; of a side that did not lose them its last level."""
    sides = [("below", "lowest", "<"), ("above", "highest", ">")]
    found = [
        f"{sign} {row[end]:g}" if row[side] != row[side] else f"{row[side]:.3g}"
        for side, end, sign in sides
        if row[end] != row["unchanged"]
    ]
    return ", ".join(found)


def views_of_groups(together: SideBySide) -> list[str]:
    """Return what the two-class figures of the groups hold against what."""
    return [f"two-class figures: {view}" for view in dict.fromkeys(together.table["view"]) if view]


def _notes_on_groups(together: SideBySide) -> list[str]:
    """Return what a reader of the groups side by side has to know."""
    lines = ["mean +- population deviation over folds (and seeds), 95 % interval over patients"]
    lines += views_of_groups(together)
    if together.table["leaks"].any():
        lines.append("* image-level: patients stand on both sides of a split, so that figures are optimistic")
    if len(together.gaps):
        lines.append("gap: by how many points the image-level figure is above the patient-level one, 95 % interval")
    return lines


def _protocols_title(row: Mapping[Any, Any], protocols: list[str]) -> str:
    return " ".join(axis_title(name, str(row[name])) for name in protocols)


def _value_of_axis(axis: str, rows: pd.DataFrame) -> str:
    """Of the number of patients also how many there really are, by protocol."""
    value = str(rows[axis].iloc[0])
    if axis != TRAINING:
        return value
    real = [f"{count:.1f}".removesuffix(".0") for count in sorted(rows["patients"].unique())]
    name = "all" if value == "0" else value
    return name if real == [value] else f"{name} ({' to '.join(dict.fromkeys([real[0], real[-1]]))})"


def _ours_beside(table: pd.DataFrame, group: str, published: Mapping[Any, Any]) -> str:
    """Return our figure beside a published one."""
    title = table["group"].replace("", "ours")
    found = table[(table["model"] == published["model"]) & (title == group)].to_dict("records")
    figure = ours_in_percent(found[0] if found else {}, published["metric"])
    said = spread(published[group], figure["std"])
    within = ends(figure["low"], figure["high"])
    return f"{said} ({within})" if within else said


def _accuracy(row: Mapping[Any, Any]) -> str:
    return f"{spread(row['mean'], row['std'])} ({ends(row['low'], row['high'])})"


def _gap(gaps: pd.DataFrame, key: Mapping[str, Any], pair: tuple[str, str]) -> str:
    """Return the gap of a model between two protocols."""
    wanted = {**key, "leaking": pair[0], "other": pair[1]}
    found = gaps[(gaps[list(wanted)] == list(wanted.values())).all(axis=1)].to_dict("records")
    return signed(*(found[0][name] for name in ("gap", "low", "high"))) if found else MISSING


def _auc(row: Mapping[Any, Any]) -> str:
    """That of the two-class view where there is one."""
    return measured(row, "auc" if pd.isna(row.get("binary_auc")) else "binary_auc")
