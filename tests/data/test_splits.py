from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from src.data.manifest import case_groups, list_cases
from src.data.splits import (
    FIT,
    REPORT,
    STOPPING,
    UNUSED,
    Holdout,
    ImageHoldout,
    ImageKFold,
    KFold,
    Published,
    SplitProtocol,
    assign_roles,
    check_splits,
    repeat_of_fold,
    training_cases,
)

Make = Callable[..., pd.DataFrame]
PROTOCOLS = [KFold(folds=3), KFold(folds=2, seed=7), ImageKFold(folds=3), Holdout(), Holdout(fraction=0.5, seed=3)]


@st.composite
def manifests(draw: st.DrawFn) -> pd.DataFrame:
    """Up to three classes of 6 to 15 cases with one or two samples, of one of a few patients or an unknown one."""
    rows = []
    for label in ("a", "b", "c")[: draw(st.integers(2, 3))]:
        for index in range(draw(st.integers(6, 15))):
            patient = draw(st.sampled_from(["", *(f"p{number}" for number in range(12))]))
            for view in ("cc", "mlo")[: draw(st.integers(1, 2))]:
                rows.append((f"{label}{index}{view}.png", f"{label}{index}", patient, view, label))
    table = pd.DataFrame(rows, columns=["sample", "case", "patient", "view", "label"])
    return table.assign(label=pd.Categorical(table["label"])).sort_values("sample", ignore_index=True)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=repr)
@settings(max_examples=20)
@given(table=manifests(), seed=st.integers(0, 2**16))
def test_a_split_is_a_partition_that_order_does_not_change(
    protocol: SplitProtocol, table: pd.DataFrame, seed: int
) -> None:
    try:
        splits = protocol.split(table)
    except ValueError as error:
        assume("class" not in str(error))  # too few patients of a class: refused by name
        raise
    assert splits["case"].tolist() == sorted(set(table["case"]))
    assert splits["fold"].dtype == np.int64
    pd.testing.assert_frame_equal(protocol.split(table.sample(frac=1, random_state=seed)), splits)
    joined = list_cases(table).merge(splits, on="case")
    for fold in set(joined["fold"]) - {0}:
        assert set(joined["label"][joined["fold"] != fold]) == set(table["label"])
    if protocol.grouped:
        known = joined[joined["patient"] != ""]
        assert (known.groupby("patient")["fold"].nunique() <= 1).all()


def test_folds_are_stratified(manifest: Make) -> None:
    table = manifest({"a": 50, "b": 20, "c": 10})
    for protocol in (KFold(folds=10), ImageKFold(folds=10)):
        joined = list_cases(table).merge(protocol.split(table), on="case")
        counts = joined.groupby(["fold", "label"], observed=True).size().unstack()
        assert counts.to_numpy().tolist() == [[5, 2, 1]] * 10


def test_grouped_folds_are_stratified_about(manifest: Make) -> None:
    table = manifest({"a": 60, "b": 30}, per_patient=3)
    joined = list_cases(table).merge(KFold(folds=5).split(table), on="case")
    counts = joined.groupby(["fold", "label"], observed=True).size().unstack()
    assert counts.to_numpy().tolist() == [[12, 6]] * 5


def test_seeds_differ(manifest: Make) -> None:
    table = manifest({"a": 20, "b": 20})
    for protocol in (KFold, ImageKFold, Holdout):
        assert not protocol(seed=0).split(table).equals(protocol(seed=1).split(table))


def test_holdout_holds_out_the_fraction_of_every_class(manifest: Make) -> None:
    for per_patient in (0, 1, 2):
        table = manifest({"a": 40, "b": 20}, per_patient=per_patient)
        joined = list_cases(table).merge(Holdout(fraction=0.3).split(table), on="case")
        assert joined[joined["fold"] == 1].groupby("label", observed=True).size().tolist() == [12, 6]
        assert set(joined["fold"]) == {0, 1}


def test_holdout_refuses_to_leave_a_class_out(manifest: Make) -> None:
    with pytest.raises(ValueError, match=r"protocol.fraction=0.1 leaves b out of it \(2 cases\)"):
        Holdout(fraction=0.1).split(manifest({"a": 40, "b": 2}))
    with pytest.raises(ValueError, match=r"all cases of b are held out .* a smaller protocol\.fraction"):
        Holdout(fraction=0.9).split(manifest({"a": 40, "b": 2}))


def test_fewer_cases_than_folds_are_refused(manifest: Make) -> None:
    for protocol in (KFold(folds=5), ImageKFold(folds=5)):
        with pytest.raises(ValueError, match=r"class b has 3 cases for protocol.folds=5: protocol.folds=3 or fewer"):
            protocol.split(manifest({"a": 20, "b": 3}))
        with pytest.raises(ValueError, match=r"class b has 1 case for .*: add some"):
            protocol.split(manifest({"a": 20, "b": 1}))


def test_fewer_patients_than_folds_are_refused(manifest: Make) -> None:
    table = manifest({"a": 40, "b": 40}, per_patient=10)
    with pytest.raises(ValueError, match=r"class a has 4 patients for protocol.folds=5: protocol.folds=4 or fewer"):
        KFold(folds=5).split(table)
    assert ImageKFold(folds=5).split(table)["fold"].nunique() == 5


@pytest.mark.parametrize("protocol", [KFold(folds=5), KFold(folds=2), Holdout()])
def test_a_class_of_one_patient_is_named_with_what_to_do(manifest: Make, protocol: SplitProtocol) -> None:
    ignores = "image_holdout" if isinstance(protocol, Holdout) else "image_kfold"
    advised = rf"class a has 1 patient( for protocol.folds=\d)?: add patients, .* or take protocol={ignores}, which"
    with pytest.raises(ValueError, match=advised):
        protocol.split(manifest({"a": 10, "b": 10}, per_patient=10))


@pytest.mark.parametrize("protocol", [Holdout(), ImageHoldout()])
def test_a_holdout_of_a_class_with_one_case_is_refused(manifest: Make, protocol: SplitProtocol) -> None:
    with pytest.raises(ValueError, match="some are held out and some learnt from, but class b has 1 case: add some"):
        protocol.split(manifest({"a": 20, "b": 1}))


def test_check_names_what_is_wrong(manifest: Make) -> None:
    table = manifest({"a": 6, "b": 6}, per_patient=2)
    good = KFold(folds=3).split(table)
    pd.testing.assert_frame_equal(check_splits(good.sample(frac=1, random_state=0), table, grouped=True), good)
    with pytest.raises(ValueError, match="'a0' stands twice"):
        check_splits(pd.concat([good, good[:1]]), table)
    with pytest.raises(ValueError, match="'a0' is lacking"):
        check_splits(good[1:], table)
    with pytest.raises(ValueError, match="'zz' is not in the manifest"):
        check_splits(pd.concat([good, pd.DataFrame({"case": ["zz"], "fold": [1]})]), table)
    moved = good.assign(fold=good["fold"].where(good["case"] != "a0", good["fold"] % 3 + 1))
    assert len(check_splits(moved, table)) == 12
    with pytest.raises(ValueError, match="'a-p0' stands in folds"):
        check_splits(moved, table, grouped=True)
    with pytest.raises(ValueError, match="all cases of a are held out in fold 1"):
        check_splits(good.assign(fold=[1] * 6 + [2] * 6), table)
    with pytest.raises(ValueError, match="folds count from 1"):
        check_splits(good.assign(fold=0), table)


@pytest.mark.parametrize(
    ("column", "name"), [("case", "{0}{1}"), ("image", "{0}/{1}.png"), ("sample", "{1}.png"), ("image", "{0}{1}.png")]
)
def test_published_folds_by_case_path_or_file_name(manifest: Make, tmp_path: Path, column: str, name: str) -> None:
    table = manifest({"a": 4, "b": 4})
    if name == "{0}{1}.png":
        table["sample"] = "folder/" + table["case"] + ".png"
    rows = [(name.format(label, index), index % 2 + 1) for label in "ab" for index in range(4)]
    pd.DataFrame(rows, columns=[column, "fold"]).to_csv(tmp_path / "folds.csv", index=False)
    protocol = Published(path=str(tmp_path / "folds.csv"))
    if name == "{1}.png":
        with pytest.raises(ValueError, match=r"several"):
            protocol.split(table)
    else:
        assert protocol.split(table)["fold"].tolist() == [1, 2, 1, 2] * 2


def test_published_folds_may_list_every_view(tmp_path: Path) -> None:
    rows = [
        (f"{label}{index}-{view}.png", f"{label}{index}", label) for label in "ab" for index in "12" for view in "cm"
    ]
    table = pd.DataFrame(rows, columns=["sample", "case", "label"]).assign(patient="", view="")
    path = tmp_path / "folds.csv"
    listed = table[["sample"]].assign(fold=[1, 1, 2, 2] * 2)
    listed.to_csv(path, index=False)
    assert Published(path=str(path)).split(table)["fold"].tolist() == [1, 2, 1, 2]
    listed.assign(fold=[1, 2, 2, 2] * 2).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"a case has one fold, but in .* 'a1' has several"):
        Published(path=str(path)).split(table)


@pytest.mark.parametrize("names", ["{0}{1}.tif", "{0}{1}", "{0}{1}.JPEG"])
def test_published_folds_by_name_whatever_the_ending(manifest: Make, tmp_path: Path, names: str) -> None:
    rows = [(names.format(label, index), index % 2 + 1) for label in "ab" for index in range(4)]
    pd.DataFrame(rows, columns=["image", "fold"]).to_csv(tmp_path / "folds.csv", index=False)
    table = manifest({"a": 4, "b": 4})
    for case in (table["case"], table["sample"]):  # as names, and as paths
        table["case"] = case
        table["sample"] = [f"deep/{name}.jpg" for name in manifest({"a": 4, "b": 4})["case"]]
        assert Published(path=str(tmp_path / "folds.csv")).split(table)["fold"].tolist() == [1, 2, 1, 2] * 2


@pytest.mark.parametrize(
    ("content", "samples", "said"),
    [
        ("a0.tif,1\na0.png,2\n", ["a0.jpg", "b0.jpg"], r"'a0' without endings has several \(a0\.tif, a0\.png\)"),
        ("a0.tif,1\nb0.tif,2\n", ["a0.jpg", "a0.png", "b0.jpg"], r"'a0\.tif' to several \(a0\.jpg, a0\.png\)"),
        ("a0.v2,1\nb0.jpg,2\n", ["a0.v1", "b0.jpg"], r"'a0\.v2' is not"),  # no ending of an image
    ],
)
def test_published_folds_of_names_that_may_be_several_are_refused(
    tmp_path: Path, content: str, samples: list[str], said: str
) -> None:
    (tmp_path / "folds.csv").write_text("image,fold\n" + content)
    table = pd.DataFrame({"sample": samples, "case": samples, "patient": "", "view": ""})
    table["label"] = pd.Categorical([name[0] for name in samples])
    with pytest.raises(ValueError, match=said):
        Published(path=str(tmp_path / "folds.csv")).split(table)


def test_a_name_with_its_ending_goes_before_one_without(tmp_path: Path) -> None:
    names = ["a0.jpg", "a0.png", "b0.jpg", "b0.png"]
    pd.DataFrame({"image": names, "fold": [1, 2, 1, 2]}).to_csv(tmp_path / "folds.csv", index=False)
    table = pd.DataFrame({"sample": names, "case": names, "patient": "", "view": ""})
    table["label"] = pd.Categorical([name[0] for name in names])
    assert Published(path=str(tmp_path / "folds.csv")).split(table)["fold"].tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize("held_out", ["validation", "Test", "val"])
def test_a_published_split_holds_one_part_out(manifest: Make, tmp_path: Path, held_out: str) -> None:
    rows = [f"{label}{index},{'train' if index else held_out}" for label in "ab" for index in range(3)]
    (tmp_path / "split.csv").write_text("\n".join(["case,split", *rows]))
    protocol = Published(path=str(tmp_path / "split.csv"))
    splits = protocol.split(manifest({"a": 3, "b": 3}))
    assert splits["fold"].tolist() == [1, 0, 0] * 2
    assert protocol.notes(splits) == ["predicted are 2 of 6 cases: by split.csv the other 4 are always learnt from"]
    (tmp_path / "split.csv").write_text(
        "case,fold\n" + "".join(f"{case},{fold}\n" for case, _, fold in splits.to_numpy())
    )
    pd.testing.assert_frame_equal(protocol.split(manifest({"a": 3, "b": 3})), splits)
    assert protocol.notes(splits.assign(fold=1)) == []


@pytest.mark.parametrize("parts", ["train validation test", "train train train", "train fold2 fold2", "train  test"])
def test_a_published_split_of_other_parts_is_refused(manifest: Make, tmp_path: Path, parts: str) -> None:
    rows = [f"{label}{index},{part}" for label in "ab" for index, part in enumerate(parts.split(" "))]
    (tmp_path / "split.csv").write_text("\n".join(["case,split", *rows]))
    with pytest.raises(ValueError, match=r"a split is train or one of test, .*, but .*split\.csv has '.*column fold"):
        Published(path=str(tmp_path / "split.csv")).split(manifest({"a": 3, "b": 3}))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("case,fold\na0,1\na1,2\nb0,1\n", "every case of the manifest has a row.*'b1' has none"),
        ("case,fold\na0,1\na1,2\nb0,1\nb1,2\nzz,1\n", "every row is one of the manifest's.*'zz' is not"),
        ("case,fold\na0,1\na1,2\nb0,1\nb1,2\na1,2\n", "a name has one row.*'a1' has several"),
        ("case,fold\na0,one\n", "'one' for 'a0'"),
        ("case,fold\na0,-1\n", "'-1' for 'a0'"),
        ("name,fold\na0,1\n", "needs a column fold .or split. and one of case, image, sample, but has name, fold"),
        (
            "case,fold\na0,1\na1,1\nb0,2\nb1,2\n",
            "all cases of a are held out in fold 1: correct the folds in .*folds.csv",
        ),
        ("case,fold\na0,0\na1,0\nb0,0\nb1,0\n", "folds count from 1"),
        ("", "cannot be read"),
    ],
)
def test_published_folds_that_do_not_fit_are_refused(manifest: Make, tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "folds.csv").write_text(content)
    with pytest.raises(ValueError, match=named):
        Published(path=str(tmp_path / "folds.csv")).split(manifest({"a": 2, "b": 2}))
    with pytest.raises(ValueError, match="there is no file"):
        Published(path=str(tmp_path / "none.csv")).split(manifest({"a": 2, "b": 2}))


@pytest.mark.parametrize(
    ("folds", "from_zero", "taken", "said"),
    [
        ([0, 1, 2] * 4, None, [1, 2, 3] * 4, "folds count from 0: those called 0 to 2 are 1 to 3 here"),
        ([0, 1, 2] * 4, False, [0, 1, 2] * 4, "fold 0 is never held out"),
        ([0, 1] * 6, None, [0, 1] * 6, "fold 0 is never held out"),
        ([0, 1] * 6, True, [1, 2] * 6, "folds count from 0"),
        ([0, 0, 0, 1, 0, 2] * 2, None, [0, 0, 0, 1, 0, 2] * 2, "fold 0 is never held out"),
        ([0, 1, 3] * 4, None, [0, 1, 3] * 4, "fold 0 is never held out"),
        ([1, 2, 3] * 4, None, [1, 2, 3] * 4, ""),
    ],
)
def test_published_folds_from_zero(
    manifest: Make, tmp_path: Path, folds: list[int], from_zero: bool | None, taken: list[int], said: str
) -> None:
    table = manifest({"a": 6, "b": 6})
    list_cases(table)[["case"]].assign(fold=folds).to_csv(tmp_path / "folds.csv", index=False)
    protocol = Published(path=str(tmp_path / "folds.csv"), from_zero=from_zero)
    assert protocol.split(table)["fold"].tolist() == taken
    remarks = protocol.remarks(table)
    assert len(remarks) == bool(said)
    assert said in "".join(remarks)


def test_values_check_themselves() -> None:
    for make in (lambda: KFold(folds=1), lambda: ImageKFold(seed=-1), lambda: Holdout(fraction=1.0)):
        with pytest.raises(ValueError, match=r"folds=1|seed=-1|fraction=1\.0"):
            make()


def patients(manifest: pd.DataFrame, chosen: "pd.Series[str]") -> set[str]:
    return set(case_groups(manifest)[list(chosen)])


@pytest.fixture
def table(manifest: Make) -> pd.DataFrame:
    """40 and 20 cases, two of each patient."""
    return manifest({"a": 40, "b": 20}, per_patient=2)


def test_every_case_has_one_role_in_every_fold(table: pd.DataFrame) -> None:
    splits = KFold(folds=4).split(table)
    found = assign_roles(table, splits, patients=12, stopping=0.25)
    assert list(found) == ["case", "fold", "role"]
    assert (found.groupby("fold")["case"].nunique() == 60).all()
    assert not found.duplicated(["case", "fold"]).any()
    assert set(found["role"]) == {FIT, STOPPING, REPORT, UNUSED}
    report = found[found["role"] == REPORT].set_index("case")["fold"]
    assert (report == splits.set_index("case")["fold"][report.index]).all()


def test_patients_have_one_role_in_a_fold(table: pd.DataFrame) -> None:
    found = assign_roles(table, KFold(folds=4).split(table), patients=12, stopping=0.25)
    joined = list_cases(table).merge(found, on="case")
    assert (joined.groupby(["patient", "fold"])["role"].nunique() == 1).all()


def test_everything_else_is_learnt_from_unless_limited(table: pd.DataFrame) -> None:
    found = assign_roles(table, KFold(folds=4).split(table))
    assert set(found["role"]) == {FIT, REPORT}


def test_stopping_takes_its_share_of_every_class(table: pd.DataFrame) -> None:
    found = assign_roles(table, KFold(folds=4).split(table), stopping=0.2).merge(list_cases(table), on="case")
    training = found[found["role"] != REPORT]
    share = (training["role"] == STOPPING).groupby([training["fold"], training["label"].astype(str)]).mean()
    assert share.between(0.1, 0.4).all()


@settings(max_examples=30)
@given(fewer=st.integers(2, 20), more=st.integers(2, 20), seed=st.integers(0, 50))
def test_the_fewer_patients_are_among_the_more(fewer: int, more: int, seed: int) -> None:
    rows = [
        (f"{label}{n}", f"{label}-p{n // 2}", label) for label, count in (("a", 40), ("b", 20)) for n in range(count)
    ]
    table = pd.DataFrame(rows, columns=["case", "patient", "label"])
    table = table.assign(sample=table["case"], view="", label=pd.Categorical(table["label"]))
    splits = KFold(folds=4).split(table)
    few, many = (training_cases(table, splits, 1, count, seed) for count in sorted((fewer, more)))
    assert few <= many <= set(splits["case"][splits["fold"] != 1])
    assert len(patients(table, pd.Series(sorted(few)))) == min(fewer, more)
    assert {name[0] for name in few} == {"a", "b"}


def test_too_many_or_too_few_patients_are_named(table: pd.DataFrame) -> None:
    splits = KFold(folds=4).split(table)
    with pytest.raises(ValueError, match="training_patients=1 leaves no case of"):
        assign_roles(table, splits, patients=1)
    with pytest.raises(ValueError, match=r"training_patients=99, but fold 1 has \d+ to learn from"):
        assign_roles(table, splits, patients=99)


def test_a_class_that_cannot_be_stopped_by_is_named(manifest: Make) -> None:
    table = manifest({"a": 20, "b": 4}, per_patient=2)
    with pytest.raises(ValueError, match=r"finetune.validation=0.2 leaves no patient of class b to stop by"):
        assign_roles(table, KFold(folds=2).split(table), stopping=0.2)


def test_an_image_level_holdout_ignores_patients(table: pd.DataFrame) -> None:
    splits = ImageHoldout(fraction=0.3).split(table)
    assert splits["fold"].mean() == pytest.approx(0.3, abs=0.02)
    joined = list_cases(table).merge(splits, on="case")
    assert (joined.groupby("patient")["fold"].nunique() > 1).any()


def test_repeats_are_the_splits_of_as_many_seeds(manifest: Make) -> None:
    table = manifest({"a": 20, "b": 12})
    for protocol in (KFold(folds=3, seed=4, repeats=3), ImageHoldout(seed=4, repeats=3)):
        splits = protocol.split(table)
        for number, (repeat, part) in enumerate(splits.groupby("repeat")):
            alone = replace(protocol, repeats=1, seed=4 + number).split(table)
            moved = part["fold"] - np.where(part["fold"] > 0, number * alone["fold"].max(), 0)
            assert repeat == number + 1
            assert moved.tolist() == alone["fold"].tolist()
        folds = splits.loc[splits["fold"] > 0, "fold"]
        assert sorted(set(folds)) == list(range(1, 1 + folds.nunique()))
        assert repeat_of_fold(splits)[int(folds.max())] == 3


def test_roles_of_repeats_are_those_of_each(manifest: Make) -> None:
    table = manifest({"a": 20, "b": 12})
    together = assign_roles(table, KFold(folds=3, repeats=2).split(table), patients=9, stopping=0.2)
    second = assign_roles(table, KFold(folds=3, seed=1).split(table), patients=9, stopping=0.2)
    both = together[together["fold"] > 3].assign(fold=together["fold"] - 3)
    pd.testing.assert_frame_equal(both.reset_index(drop=True), second)


def test_there_are_ten_folds_where_patients_allow(manifest: Make) -> None:
    assert KFold().split(manifest({"a": 30, "b": 14}))["fold"].max() == 10
    assert KFold().split(manifest({"a": 30, "b": 7}))["fold"].max() == 7
    with pytest.raises(ValueError, match="two folds"):
        KFold().split(manifest({"a": 30, "b": 1}))


def test_repeats_and_seeds_are_checked() -> None:
    with pytest.raises(ValueError, match="repeats"):
        KFold(repeats=0)
    with pytest.raises(ValueError, match="seed"):
        KFold(seed=2**32 - 1, repeats=2)
