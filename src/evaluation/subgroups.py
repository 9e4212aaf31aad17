"""Do figures differ between the values of a column: between hospitals, sexes, scanners?

A metric's values by group have nothing in common but the hypothesis that they are one. What each patient adds to each
group's value less that one is known, so that patients are the clusters, and one of several groups (left and right) is
no exception. The statistic is the squared length of the groups' differences in units of their covariance; its
distribution under the hypothesis comes from a wild bootstrap over patients with the hypothesis imposed (Cameron,
Gelbach and Miller 2008, Rademacher's weights): the sign of all that a patient adds is drawn anew.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from src.evaluation.areas import place_cases
from src.evaluation.metrics import label_numbers, patient_names
from src.evaluation.multiplicity import holm_correction
from src.evaluation.predictions import average_by_case, class_names, probability_columns
from src.evaluation.two_classes import POSITIVE, Binary
from src.evaluation.wording import p_value, titled

DRAWS = 9_999
MANY = 2_000
"""Patients from which on the statistic's distribution is the chi-squared one, and nothing is drawn."""
LEVEL = 0.05
FEWEST = 10
"""Patients of a class below which a group's AUC says little."""
OF_METRIC = {"accuracy": "p_accuracy", "auc": "p_auc"}
"""The columns of a slice table with the p of each metric."""

Contributions = Float[np.ndarray, "patients groups"]


def slice_differences(
    columns: Mapping[str, pd.Series], predictions: pd.DataFrame, binary: Binary, seed: int = 0
) -> pd.DataFrame:
    """Return a row per column with two values or more that are known: `column, p_accuracy, p_auc`, corrected by Holm.

    `columns` are the values of each row of the predictions by name. The AUC is that of the two-class view; a value
    takes part in its test if both classes have 2 patients there. Not a number where there is no test.
    """
    rows = []
    for name, values in columns.items():
        parts = {value: average_by_case(predictions[values == value]) for value in sorted(set(values) - {""})}
        p = [group_test(list(make(parts, binary)), seed) for make in (accuracy_parts, auc_parts)]
        rows.append((name, *p))
    table = pd.DataFrame(rows, columns=["column", *OF_METRIC.values()])
    figures = table[list(OF_METRIC.values())].to_numpy(dtype=np.float64)
    table[list(OF_METRIC.values())] = holm_correction(figures.ravel()).reshape(figures.shape)
    return table[table["p_accuracy"].notna() | table["p_auc"].notna()].reset_index(drop=True)


def slice_notes(slices: pd.DataFrame) -> list[str]:
    """Return a note where figures differ between the values of a column, and one where a value has few patients.

    `slices` is a table of `src.evaluation.slices.slice_table`, which may be empty.
    """
    if slices.empty:
        return []
    notes = []
    for column, rows in slices.groupby("column", sort=False):
        found = {name: float(rows[p].iloc[0]) for name, p in OF_METRIC.items()}
        shown = [f"{titled(name)} (p {p_value(p)})" for name, p in found.items() if p <= LEVEL]
        if shown:
            notes.append(f"{' and '.join(shown)} differs between the values of {column}, corrected over the slices")
    few = slices[(slices["fewest"] < FEWEST) & slices["p_accuracy"].notna()]
    if len(few):
        named = [f"{row['column']} {row['value']} ({row['fewest']})" for row in few.head(3).to_dict("records")]
        more = f" and {len(few) - 3} more" if len(few) > 3 else ""
        notes.append(
            f"slices with fewer than {FEWEST} patients of a class, whose figures say little: {', '.join(named)}{more}"
        )
    return notes


def fewest_patients(cases: pd.DataFrame) -> int:
    """Return how many patients the class with the fewest has, among those of the table's names."""
    counts = cases.assign(patient=patient_names(cases)).groupby("label")["patient"].nunique()
    return int(counts.reindex(class_names(cases), fill_value=0).min())


def accuracy_parts(parts: Mapping[str, pd.DataFrame], binary: Binary) -> Iterator[tuple[float, pd.DataFrame]]:
    """Yield each group's accuracy, and what each patient adds to it less what is yet to be known in common.

    That is the patient's right cases and all cases, as shares of the group's.
    """
    for cases in parts.values():
        predicted = cases[probability_columns(cases)].to_numpy(dtype=np.float64).argmax(axis=1)
        yield _by_patient(cases, (predicted == label_numbers(cases)) / len(cases), np.full(len(cases), 1 / len(cases)))


def auc_parts(parts: Mapping[str, pd.DataFrame], binary: Binary) -> Iterator[tuple[float, pd.DataFrame]]:
    """Yield each group's AUC of the two-class view, and what each patient adds to it, as `accuracy_parts` does.

    A case adds half its class's share of its place among the other class (DeLong 1988; Obuchowski 1997).
    """
    for cases in parts.values():
        view = binary(cases)
        if view is None or fewest_patients(view) < 2:
            continue
        places = pd.concat([_places(part) for _, part in view.assign(repeat=cases["repeat"]).groupby("repeat")])
        share = places["share"].to_numpy() / cases["repeat"].nunique()
        centre = float((places["place"] * share).sum())
        # Both classes' places have the AUC as their mean: what differs from it counts twice, as in the variance.
        added = share * (centre + 2 * (places["place"].to_numpy() - centre))
        yield _by_patient(view.loc[places.index], added, share)


def _places(view: pd.DataFrame) -> pd.DataFrame:
    """Return of each case its `place` (`src.evaluation.areas.place_cases`), and `share`, half of what it is of its own
    class."""
    score, positive = view["p_positive"].to_numpy(dtype=np.float64), (view["label"] == POSITIVE).to_numpy(dtype=bool)
    share = 0.5 / np.where(positive, positive.sum(), (~positive).sum())
    return pd.DataFrame({"place": place_cases(score, positive), "share": share}, index=view.index)


def _by_patient(
    cases: pd.DataFrame, added: Float[np.ndarray, " cases"], share: Float[np.ndarray, " cases"]
) -> tuple[float, pd.DataFrame]:
    """Return the sum of what is added, and by patient what it adds and its share of the whole."""
    table = pd.DataFrame({"patient": patient_names(cases), "added": added, "share": share})
    return float(added.sum()), table.groupby("patient").sum()


def group_test(groups: list[tuple[float, pd.DataFrame]], seed: int) -> float:
    """Return the p of the hypothesis that all groups have one value; not a number of fewer than two."""
    if len(groups) < 2:
        return float("nan")
    weights = np.array([len(table) for _, table in groups])
    common = float(np.average([value for value, _ in groups], weights=weights))
    excess = [table["added"] - common * table["share"] for _, table in groups]
    by_patient = pd.concat(excess, axis=1).fillna(0.0).to_numpy(dtype=np.float64)
    return wild_bootstrap(by_patient[:, 1:] - by_patient[:, :1], seed)


def wild_bootstrap(parts: Contributions, seed: int) -> float:
    """Return the p of the hypothesis that sums over patients are 0, by draws of the patients' signs."""
    from scipy.stats import chi2

    covariance = np.linalg.pinv(parts.T @ parts, hermitian=True)

    def lengths(sums: Float[np.ndarray, "draws groups"]) -> Float[np.ndarray, " draws"]:
        return np.einsum("dg,gh,dh->d", sums, covariance, sums)

    seen = lengths(parts.sum(axis=0, keepdims=True))[0]
    if len(parts) > MANY:
        return float(chi2.sf(seen, np.linalg.matrix_rank(covariance)))
    generator, above = np.random.default_rng([seed, len(parts)]), 0
    for start in range(0, DRAWS, 1000):
        signs = 2.0 * generator.integers(2, size=(min(1000, DRAWS - start), len(parts))) - 1
        above += int((lengths(signs @ parts) >= seen * (1 - 1e-9)).sum())
    return (1 + above) / (1 + DRAWS)
