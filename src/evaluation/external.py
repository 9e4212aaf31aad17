"""What a model does on another cohort, beside what it did on patients of its own."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from src.evaluation.predictions import probability_columns, stepwise_means

SHOWN = ("accuracy", "balanced_accuracy", "auc", "binary_accuracy", "binary_auc", "brier", "ece")
"""The metrics that are held against each other, those that are there."""
ENDS = ("", "_low", "_high")


def external_predictions(each: pd.DataFrame, manifest: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the predictions table of a model that is the mean of its fold models: a row per sample.

    `each` is what the fold models say (`sample, view, model, fold, seed, p_<class>...`), `manifest` has patients and
    labels. The model is one, `name`, and so is what it predicts: one repeat, one fold, one seed.
    """
    names = probability_columns(each)
    *_, means = stepwise_means(each, ["sample", "model", "seed", "fold"])
    view = each.drop_duplicates("sample").set_index("sample")["view"]
    facts = manifest.set_index("sample")[["case", "patient", "label"]].astype(str)
    table = means.join(facts).assign(view=view, model=name, repeat=1, fold=1, seed=0).reset_index()
    return table[["sample", "case", "patient", "view", "label", "model", "repeat", "fold", "seed", *names]]


def external_table(external: Mapping[str, float], internal: Mapping[str, float], classes: int) -> pd.DataFrame:
    """Return a row per metric: `metric`, and with `_low` and `_high` `internal`, `external` and their `difference`.

    `internal` are the figures of held-out patients of the model's own; they may be empty, and what is not known is not
    a number. The difference is the external figure less the internal one, of patients who have nothing in common, its
    interval from theirs (`subtract_independent`). Of two `classes` the two-class view says nothing more.
    """
    rows = []
    for name in SHOWN:
        if name in external and not (classes == 2 and name.startswith("binary_")):
            ours, theirs = ([found.get(name + end, np.nan) for end in ENDS] for found in (external, internal))
            difference = subtract_independent((ours[0], ours[1], ours[2]), (theirs[0], theirs[1], theirs[2]))
            sides = {"internal": theirs, "external": ours, "difference": list(difference)}
            figures = {side + end: found[place] for side, found in sides.items() for place, end in enumerate(ENDS)}
            rows.append({"metric": name, **figures})
    return pd.DataFrame(rows)


def subtract_independent(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return one figure less another of independent data, and its 95 % interval; each is value, low, high.

    The interval is made of theirs by the square-and-add method (Newcombe 1998, method 10; MOVER of Zou and Donner 2008,
    equation 3), and so is as asymmetric as they are.
    """
    (value, low, high), (less, least, most) = one, other
    below, above = np.hypot(value - low, most - less), np.hypot(high - value, less - least)
    return value - less, value - less - float(below), value - less + float(above)
