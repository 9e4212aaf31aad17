"""Who was studied: from what was found to what is judged, and what is missing."""

import pandas as pd

from src.evaluation.evaluation import evaluate
from src.reporting.gathering import Split
from src.reporting.participants import describe_data, flow_table, missing_table, prevalence_table
from tests.support.predictions import make_predictions


def split() -> Split:
    """12 cases with two views, of which the last has one, and its patient is unknown; one image is bad, one case of
    fold 0, and two files are none."""
    predictions = make_predictions(views=("cc", "mlo"), seeds=1)
    predictions = predictions[predictions["sample"] != "0011mlo.png"]
    predictions.loc[predictions["case"] == "0011", "patient"] = ""
    facts = ["sample", "case", "patient", "view", "label"]
    manifest = predictions[facts].drop_duplicates().reset_index(drop=True)
    given = pd.DataFrame([["g.png", "g", "pg", "cc", "Benign"], ["gm.png", "g", "pg", "mlo", "Benign"]], columns=facts)
    judged = manifest[manifest["sample"] != "0000cc.png"]
    return Split(
        title="mammograms kfold",
        cells=["a"],
        held_out=pd.DataFrame(),
        folds=pd.DataFrame(),
        names={},
        findings=pd.DataFrame(),
        facts={},
        manifest=pd.concat([manifest, given]).assign(density=["", *["b"] * (len(manifest) + 1)]),
        left_out=pd.DataFrame({"name": ["notes.txt", "Thumbs.db"], "kind": ["other files"] * 2}),
        bad=pd.DataFrame({"sample": ["0000cc.png"], "outcome": ["left out"], "reason": ["too small"]}),
        judged=judged.drop(columns="view"),
    )


def test_every_image_is_accounted_for() -> None:
    rows = flow_table(split()).rows
    assert rows == [
        ["Found", "27", "-", "-"],
        ["Left out, not read: other files (notes.txt, ...)", "2", "-", "-"],
        ["Labelled", "25", "13", "7 + 1 case of unknown ones"],
        ["Left out, bad: too small (0000cc.png)", "1", "-", "-"],
        ["Learnt from only, never held out", "2", "1", "1"],
        ["Judged out of fold", "22", "12", "6 + 1 case of unknown ones"],
    ]
    counts = [int(row[1]) for row in rows]
    assert counts[0] - counts[1] == counts[2]
    assert counts[2] - counts[3] - counts[4] == counts[5]


def test_prevalence_by_case_and_by_patient() -> None:
    made = split()
    evaluation = evaluate(make_predictions(), replicates=5)
    table = prevalence_table(made, evaluation)
    assert [row[0] for row in table.rows] == evaluation.classes
    assert [row[2:4] for row in table.rows] == [["3", "25.0"]] * 4
    assert table.rows[0][4:] == ["3", "42.9"]  # of 7: 6 known ones, and the case of an unknown one
    assert table.notes[-1] == "A case of an unknown patient counts as one."


def test_what_is_missing_is_counted() -> None:
    found = {row[0]: row[1] for row in missing_table(split()).rows}
    assert found == {
        "Patient of a case": "1",
        "A view of a case": "1",
        "Image that can be used": "1",
        "Value of density": "1",
    }


def test_where_nothing_is_missing_it_is_said() -> None:
    made = split()
    made.manifest, made.bad = made.judged.assign(view=""), pd.DataFrame()
    made.judged = made.judged.assign(patient="p")
    assert missing_table(made).rows == [["Nothing", "-", "-"]]


def test_data_in_a_sentence() -> None:
    said = describe_data(split())
    assert said.startswith("22 images of 12 cases from 6 patients and 1 case of unknown patients (Benign 3, InSitu 3")
