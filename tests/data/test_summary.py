"""What a run says of what it read."""

from collections.abc import Callable

import pandas as pd
import pytest

from src.data.reader import LeftOut
from src.data.summary import describe_held_out, describe_manifest, find_mistakes

Make = Callable[..., pd.DataFrame]


def test_classes_patients_and_what_was_left_out_are_counted(manifest: Make) -> None:
    left_out = [LeftOut("b.svs", ".svs files"), LeftOut("a.svs", ".svs files"), LeftOut("c.png", "hidden images")]
    assert describe_manifest(manifest({"benign": 6, "malignant": 4}, per_patient=2), left_out) == [
        "10 images: benign 6, malignant 4; 5 patients",
        "left out: .svs files 2 (a.svs, ...), hidden images 1 (c.png)",
    ]
    assert describe_manifest(manifest({"benign": 6, "malignant": 4})) == [
        "10 images: benign 6, malignant 4; patients unknown"
    ]


def test_a_table_beside_images_may_know_their_patients(manifest: Make) -> None:
    left_out = [LeftOut("Clinical.CSV", ".csv files")]
    *_, said = describe_manifest(manifest({"a": 4, "b": 4}), left_out)
    assert said.startswith("patients are unknown: if Clinical.CSV says whose images are whose, data=csv data.path=FILE")
    assert len(describe_manifest(manifest({"a": 4, "b": 4}, per_patient=1), left_out)) == 2
    assert len(describe_manifest(manifest({"a": 4, "b": 4})[["sample", "case", "view"]], left_out)) == 2


def test_views_and_patients_that_are_unknown_in_part(manifest: Make) -> None:
    table = manifest({"a": 2, "b": 2}, per_patient=1)
    table["patient"] = table["patient"].where(table["label"] == "a", "")
    both = pd.concat([table.assign(view=view, sample=table["sample"] + view) for view in ("cc", "mlo")])
    assert describe_manifest(both) == [
        "8 images of 4 cases: a 2, b 2; views cc 4, mlo 4; 2 patients, those of 2 cases unknown"
    ]
    assert describe_manifest(both[["sample", "case", "view"]]) == ["8 images of 4 cases; views cc 4, mlo 4"]


def test_a_manifest_that_is_right_has_no_mistakes(manifest: Make) -> None:
    for per_patient in (0, 1, 2, 4):
        assert find_mistakes(manifest({"a": 4, "b": 4}, per_patient).assign(stain="H&E", slide="7")) == []


@pytest.mark.parametrize("column", ["patient_id", "PatientID", "Subject", "patient name", "MRN"])
def test_a_column_of_patients_that_is_not_taken(manifest: Make, column: str) -> None:
    table = manifest({"a": 4, "b": 4})
    (said,) = find_mistakes(table.assign(**{column: "p"}))
    assert f"data.columns.patient={column}" in said
    assert find_mistakes(table.assign(**{column: "p"}, patient=table["case"])) == []


def test_labels_that_tell_nothing_apart(manifest: Make) -> None:
    (said,) = find_mistakes(manifest({"0.1": 1, "0.2": 1, "0.3": 1, "0.4": 3}))
    assert said == "3 of 4 classes have a single case, 0.1, 0.2, 0.3: are these the labels?"


def test_a_patient_that_stands_for_unknown_ones(manifest: Make) -> None:
    table = manifest({"a": 5, "b": 5}, per_patient=1)
    table.loc[:5, "patient"] = "999"
    (said,) = find_mistakes(table)
    assert said.startswith("patient '999' has 6 of 10 cases")


def test_the_same_folders_in_every_class(manifest: Make) -> None:
    def placed(*folders: str) -> pd.DataFrame:
        table = manifest({"Basel": 4, "Bern": 4})
        rows = zip(table["label"], list(folders) * 4, table["case"], strict=True)
        return table.assign(sample=["/".join(parts) for parts in rows])

    (said,) = find_mistakes(placed("benign", "malignant"))
    assert said.startswith("the classes are Basel, Bern, and each has the folders benign, malignant: if those are")
    assert find_mistakes(placed("40X", "100X")) == []
    table = placed("a", "b")
    assert find_mistakes(table.assign(sample=table["label"].astype(str) + "/" + table["case"] + "/1.png")) == []


def test_parts_of_a_split(manifest: Make) -> None:
    (said,) = find_mistakes(manifest({"Train": 4, "test": 4}))
    assert "the classes Train, test are called as the parts of a split" in said
    table = manifest({"a": 4, "b": 4})
    table["sample"] = [
        f"{label}/{part}/{case}"
        for label, part, case in zip(table["label"], ["train", "val"] * 4, table["case"], strict=True)
    ]
    (said,) = find_mistakes(table)
    assert said.startswith("folders train, val are read together")


def test_what_is_never_held_out_is_counted() -> None:
    splits = pd.DataFrame({"case": list("abcde"), "repeat": 1, "fold": [1, 2, 0, 0, 0]})
    assert describe_held_out(splits) == (
        "2 of 5 cases are held out, in 2 folds; 3 (fold 0) are learnt from and never predicted"
    )
    assert describe_held_out(splits[:2]) == "2 of 2 cases are held out, in 2 folds"
    again = pd.DataFrame({"case": list("abcde"), "repeat": 2, "fold": [3, 0, 4, 0, 0]})
    assert describe_held_out(pd.concat([splits, again])) == (
        "3 of 5 cases are held out, in 4 folds of 2 repeats; 2 (in no repeat held out) are learnt from and never "
        "predicted"
    )
