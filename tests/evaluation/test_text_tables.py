"""What tables say, and how they stand in Markdown, LaTeX and CSV."""

import csv
import io
from dataclasses import replace

import numpy as np
import pandas as pd

from src.evaluation.fold_tables import FUSION, SPREAD
from src.evaluation.optimism_ledger import LedgerEntry, optimism_ledger
from src.evaluation.side_by_side import SideBySide
from src.evaluation.text_tables import (
    BAD,
    BEST,
    TextTable,
    tabulate_against,
    tabulate_beside,
    tabulate_comparison,
    tabulate_folds,
    tabulate_groups,
    tabulate_ledger,
    tabulate_slices,
    to_csv,
    to_latex,
    to_markdown,
)
from src.evaluation.wording import headed, shown

NAN = float("nan")
NOTHING = pd.DataFrame()


def test_columns_hold_words_or_figures() -> None:
    table = TextTable(header=["name", "word", "figure", "note"], rows=[["a", "b", "1", "n"]], text=2, last=1)
    assert [table.worded(column) for column in range(4)] == [True, True, False, True]


def test_columns_are_chosen_with_the_tones_of_their_cells() -> None:
    table = TextTable(
        header=["a", "b", "c"], rows=[["1", "2", "3"], ["4", "5", "6"]], tones={(0, 1): BAD, (1, 2): BEST}
    )
    chosen = table.select({"a": "A", "c": "C"})
    assert (chosen.header, chosen.rows, chosen.tones) == (["A", "C"], [["1", "3"], ["4", "6"]], {(1, 1): BEST})


def test_a_table_by_fold_in_markdown() -> None:
    table = pd.DataFrame({"f1": [80.0, 0.0, 90.0], "mean": [80.0, 0, 90.06], "std": [1.26, np.nan, 2]})
    table.index = pd.Index(["a", SPREAD, FUSION])
    assert to_markdown(replace(tabulate_folds(table), notes=["a note", "another"])).splitlines() == [
        "| model | f1 | mean | std |",
        "| --- | ---: | ---: | ---: |",
        "| a | 80.0 | 80.0 | 1.3 |",
        f"| {SPREAD} | 0.0 | 0.0 | - |",
        f"| {FUSION} | **90.0** | **90.1** | 2.0 |",
        "",
        "a note",
        "",
        "another",
    ]


def groups(**axes: list[str]) -> pd.DataFrame:
    """Two groups of one model, as of `src.evaluation.side_by_side.group_table`."""
    return pd.DataFrame(
        {
            "model": ["a", "a"],
            **axes,
            "group": ["one", "two"],
            "leaks": [False, "image_kfold" in axes.get("protocol", [])],
            "patients": [12.5, 30.0],
            **{"mean": [80.0, 85.0], "std": [1.0, NAN], "low": [70.0, 75.0], "high": [90.0, 95.0]},
            **{"auc": [0.9, 0.8], "auc_low": [0.8, 0.7], "auc_high": [0.95, 0.9]},
            "view": "",
        }
    )


def test_protocols_stand_beside_each_other_with_their_gap() -> None:
    gaps = pd.DataFrame(
        [{"model": "a", "leaking": "image_kfold", "other": "kfold", "gap": 5.0, "low": -1.0, "high": 11.0}]
    )
    together = SideBySide(table=groups(protocol=["kfold", "image_kfold"]), gaps=gaps, published=NOTHING)
    found = tabulate_groups(together, "caption")
    assert (found.header, found.text) == (["model", "kfold", "image_kfold *", "gap"], 1)
    assert found.rows == [["a", "80.0 +- 1.0 (70.0 to 90.0)", "85.0 (75.0 to 95.0)", "+5.0 (-1.0 to +11.0)"]]
    assert [note[:3] for note in found.notes] == ["mea", "* i", "gap"]


def test_numbers_of_patients_have_rows_with_how_many_there_really_are() -> None:
    together = SideBySide(table=groups(training_patients=["12", "0"]), gaps=NOTHING, published=NOTHING)
    found = tabulate_groups(together)
    assert (found.header, found.text) == (["model", "patients", "accuracy", "AUC"], 1)
    assert [row[1] for row in found.rows] == ["12 (12.5)", "all (30)"]
    assert found.rows[1][3] == "0.800 (0.700 to 0.900)"


def test_options_that_differ_have_rows_of_their_own() -> None:
    together = SideBySide(table=groups(**{"data.task": ["x", "y"]}), gaps=NOTHING, published=NOTHING)
    found = tabulate_groups(together)
    assert (found.header, found.text) == (["model", "data.task", "accuracy", "AUC"], 2)
    assert [row[:2] for row in found.rows] == [["a", "x"], ["a", "y"]]


def test_what_is_published_has_notes_where_there_are_some() -> None:
    published = pd.DataFrame(
        {
            "model": ["a", "b"],
            "metric": "auc",
            "published": [90.0, 80.0],
            "published_std": [1.0, NAN],
            "ours": [NAN, 85.0],
        }
    )
    table = groups().assign(view="x (positive) against y")
    noted, bare = (
        tabulate_beside(SideBySide(table=table, gaps=NOTHING, published=published.assign(note=notes)))
        for notes in (["", "n"], "")
    )
    assert noted.header == ["model", "metric", "published", "ours", "note"]
    assert noted.rows == [["a", "auc", "90.0 +- 1.0", "-", ""], ["b", "auc", "80.0", "85.0", "n"]]
    assert (noted.last, noted.notes) == (1, ["two-class figures: x (positive) against y"])
    assert (bare.header, bare.last) == (noted.header[:-1], 0)


def test_ours_beside_the_published_have_deviations_and_intervals() -> None:
    balanced = {"balanced_accuracy": 0.75, "balanced_accuracy_std": [NAN, 0.03]}
    table = groups(protocol=["one", "two"]).assign(
        **balanced, balanced_accuracy_low=0.7, balanced_accuracy_high=[0.8, NAN]
    )
    ours = {"one": [80.0, 75.0], "two": [85.0, 75.0]}
    metrics = {"model": "a", "metric": ["accuracy", "balanced_accuracy"], "published": [NAN, 90.0]}
    published = pd.DataFrame({**metrics, "published_std": NAN, **ours, "note": ""})
    found = tabulate_beside(SideBySide(table=table, gaps=NOTHING, published=published))
    assert found.rows == [
        ["a", "accuracy", "-", "80.0 +- 1.0 (70.0 to 90.0)", "85.0 (75.0 to 95.0)"],
        ["a", "balanced_accuracy", "90.0", "75.0 (70.0 to 80.0)", "75.0 +- 3.0"],
    ]
    assert found.notes[0].startswith("balanced accuracy +- its population deviation over the repeats")


def test_areas_are_compared_as_fractions_and_shares_in_points() -> None:
    row = {"model": "b", "verdict": "worse", "value": 0.5, "reference_value": 0.625, "difference": -0.125, "low": -0.25}
    row |= {"high": -0.0001, "smallest": NAN, "p": 0.0004, "p_adjusted": 0.01, "p_mcnemar": NAN}
    rows = [row | {"metric": metric, "p_resampled_t": 1.0} for metric in ("accuracy", "binary_auc")]
    found = tabulate_comparison(pd.DataFrame(rows))
    p = ["<0.001", "0.010", "-", "1.000"]
    assert found.rows == [
        ["b", "accuracy", "worse", "50.0", "62.5", "-12.5 (-25.0 to 0.0)", *p, "-"],
        ["b", "two-class AUC", "worse", "0.500", "0.625", "-0.125 (-0.250 to 0.000)", *p, "-"],
    ]
    assert found.tones == {(0, 2): BAD, (1, 2): BAD}


def test_a_ledger_has_the_entries_with_figures() -> None:
    entries = [
        LedgerEntry(practice="p", model="a", note="what would give it"),
        LedgerEntry(practice="q", model="b", claimed=90, honest=85.5, optimism=4.5, low=-1, high=10, note="n"),
    ]
    assert tabulate_ledger(optimism_ledger(entries)).rows == [["q", "b", "90.0", "85.5", "+4.5 (-1.0 to +10.0)", "n"]]
    assert tabulate_ledger(optimism_ledger([])).rows == []


def test_ours_against_the_published() -> None:
    row = {"model": "a", "metric": "auc", "verdict": "not shown", "published": 90, "published_std": 2, "ours": NAN}
    row |= {"difference": NAN, "low": NAN, "high": NAN, "note": "n"}
    table = pd.DataFrame([row | {"group": ""}, row | {"group": "kfold", "ours": 91.0, "difference": 1.0}])
    assert tabulate_against(table).rows == [
        ["a", "auc", "not shown", "90.0 +- 2.0", "-", "-", "n"],
        ["a kfold", "auc", "not shown", "90.0 +- 2.0", "91.0", "+1.0", "n"],
    ]


def test_slices_in_the_units_that_are_asked_for() -> None:
    rows = [("all", "", 4, 0.75), ("view", "cc", 3, 1.0), ("view", "mlo", 1, NAN)]
    table = pd.DataFrame(rows, columns=["column", "value", "cases", "accuracy"]).assign(patients=1, auc=0.5)
    found = tabulate_slices(table, shown, headed)
    assert found.header == ["", "value", "cases", "patients", "Accuracy, %", "AUC"]
    assert found.rows[0] == ["all cases", "", "4", "1", "75.0", "0.500"]
    assert [row[0] for row in found.rows[1:]] == ["view", "view"]
    assert found.rows[2][4] == "-"


class TestForPapers:
    table = TextTable(
        caption="50 % of A_1 & B",
        header=["model", "accuracy, %", "note"],
        rows=[["[A] ^1", "81.0 +- 2.5", "p <0.001"], ["B {~}", "-1.5 (-2.0 to +0.5)", "a-b"], ["C", "-", "\\x $2 #3"]],
        last=1,
        tones={(0, 1): "best"},
        notes=["a note"],
    )

    def test_latex_is_escaped_with_the_signs_of_print(self) -> None:
        lines = to_latex(self.table).splitlines()
        assert lines[2:7] == [
            r"\caption{50 \% of A\_1 \& B}",
            r"\begin{tabular}{lrl}",
            r"\toprule",
            r"model & accuracy, \% & note \\",
            r"\midrule",
        ]
        assert lines[7:10] == [
            r"{[}A] \textasciicircum{}1 & \textbf{81.0 $\pm$ 2.5} & p $<$0.001 \\",
            r"B \{\textasciitilde{}\} & $-$1.5 ($-$2.0 to +0.5) & a-b \\",
            r"C & -- & \textbackslash{}x \$2 \#3 \\",
        ]
        assert r"\par\smallskip\footnotesize a note" in lines

    def test_csv_holds_the_texts_as_they_are(self) -> None:
        rows = list(csv.reader(io.StringIO(to_csv(self.table))))
        assert rows == [self.table.header, *self.table.rows]
