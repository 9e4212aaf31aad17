"""Which cases are shown, and pictures that say what they show."""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePosixPath
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.evaluation.map_figures import choose_examples, draw_maps, draw_pictures, file_name
from src.evaluation.predictions import average_by_case, class_names, probability_columns

Make = Callable[..., pd.DataFrame]


@dataclass
class Shown:
    """An explanation without a method."""

    sample: str
    image: np.ndarray = field(default_factory=lambda: np.full((40, 60, 3), 200, np.uint8))
    maps: dict[str, np.ndarray] = field(default_factory=lambda: {"Grad-CAM": np.eye(40, 60, dtype=np.float32)})
    meaning: str = "share of the strongest"
    note: str = ""


def test_the_most_confident_of_each_class_are_chosen(make: Make) -> None:
    predictions = make(cases=60, signal=1.0)
    chosen = choose_examples(predictions, 2)
    cases = average_by_case(predictions[predictions["seed"] == 0]).set_index("case")
    highest = cases[probability_columns(predictions)].max(axis=1)
    predicted = cases[probability_columns(predictions)].idxmax(axis=1).str.removeprefix("p_")
    for name in class_names(predictions):
        for right in (True, False):
            mine = cases.index[(cases["label"] == name) & ((predicted == name) == right)]
            rows = chosen[(chosen["label"] == name) & (chosen["right"] == right)]
            assert rows["case"].tolist() == highest[mine].sort_values(ascending=False).index[:2].tolist()
            assert rows["of"].tolist() == [len(mine)] * len(rows)
            assert rows["rank"].tolist() == [1, 2][: len(rows)]
            assert rows["predicted"].tolist() == predicted[rows["case"]].tolist()
    assert set(chosen["seed"]) == {0}
    assert chosen["label"].cat.categories.tolist() == class_names(predictions)


def test_the_order_of_the_rows_does_not_matter(make: Make) -> None:
    predictions = make(cases=24)
    last = predictions["seed"].eq(0).sort_values(ascending=False, kind="stable").index
    shuffled = predictions.loc[last].iloc[np.r_[23:-1:-1, 24:48]]
    pd.testing.assert_frame_equal(choose_examples(shuffled, 1), choose_examples(predictions, 1))


def test_ties_go_by_the_case(make: Make) -> None:
    predictions = make(cases=12, seeds=1)
    predictions[probability_columns(predictions)] = 0.25
    chosen = choose_examples(predictions, 1)
    assert chosen["case"].tolist() == ["0000", "0001", "0002", "0003"]
    assert chosen["right"].tolist() == [True, False, False, False]


def test_a_case_comes_with_both_views(make: Make) -> None:
    predictions = make(cases=24, views=("cc", "mlo"), seeds=1)
    chosen = choose_examples(predictions, 1)
    assert chosen.groupby("case", sort=False)["view"].apply(list).map(lambda views: views == ["cc", "mlo"]).all()
    own = predictions.set_index("sample")
    for row in chosen.to_dict("records"):
        assert row["probability"] == own.loc[row["sample"], f"p_{row['predicted']}"]
    np.testing.assert_allclose(
        chosen.groupby("case")["probability"].mean(), chosen.groupby("case")["confidence"].first()
    )


def test_none_are_chosen_where_none_are_wanted(make: Make) -> None:
    chosen = choose_examples(make(), 0)
    assert chosen.empty
    assert list(draw_pictures(chosen, [])) == []


def test_names_are_safe_and_told_apart(make: Make) -> None:
    chosen = choose_examples(make(cases=60, signal=0.5), 3).assign(case="../a b/$(x) é?.png")
    names = [file_name(row) for _, row in chosen.iterrows()]
    assert names[0] == "right/Normal-1-x-é"
    assert len(set(names)) == len(names)
    assert all(
        PurePosixPath(name).parts[0] in ("right", "wrong") and len(PurePosixPath(name).parts) == 2 for name in names
    )


def test_classes_that_differ_by_signs_alone_have_pictures_of_their_own(make: Make) -> None:
    chosen = choose_examples(make(cases=24, seeds=1), 1).head(2)
    chosen = chosen.assign(label=["HER2+", "HER2-"], rank=1, right=True, case=["a/1.png", "b/1.png"])
    found = dict(draw_pictures(chosen, [Shown(sample) for sample in chosen["sample"]]))
    assert list(found) == ["right/HER2-1-1.jpg", "right/HER2-1-1-other.jpg"]


@pytest.mark.slow
def test_one_figure_is_held_at_a_time(make: Make) -> None:
    chosen = choose_examples(make(cases=24, seeds=1), 1)
    threshold = gc.get_threshold()
    gc.set_threshold(200_000, *threshold[1:])  # as commands do
    try:
        list(draw_pictures(chosen[:1], [Shown(chosen["sample"].iloc[0])]))  # matplotlib keeps a process' first figure
        gc.collect()
        before = figures()
        for _ in draw_pictures(chosen, [Shown(sample) for sample in chosen["sample"]]):
            assert figures() <= before + 1
    finally:
        gc.set_threshold(*threshold)


def figures() -> int:
    return sum(type(each).__name__ == "Figure" for each in gc.get_objects())


def test_every_case_has_a_small_picture(make: Make) -> None:
    before = "matplotlib.pyplot" in sys.modules
    chosen = choose_examples(make(cases=24, views=("cc", "mlo"), seeds=1), 1).head(4)
    noise = np.random.default_rng(0).integers(0, 256, (460, 700, 3), np.uint8)
    shown = [Shown(sample, noise, {"one": np.full((460, 700), 0.3, np.float32)}) for sample in chosen["sample"]]
    found = dict(draw_pictures(chosen, shown))
    assert len(found) == chosen["case"].nunique() == 2
    for data in found.values():
        assert Image.open(BytesIO(data)).format == "JPEG"
        assert len(data) < 200_000
    assert ("matplotlib.pyplot" in sys.modules) == before


@pytest.mark.parametrize("maps", [0, 1, 3])
def test_a_figure_holds_the_maps_on_one_scale_and_says_what_they_are(make: Make, maps: int) -> None:
    rows = choose_examples(make(cases=24), 1)
    rows = rows[rows["case"] == rows["case"].iloc[0]]
    values = np.full((40, 60), np.nan, np.float32)
    values[:20] = 0.5
    shown = Shown("s", maps={f"map {number}": values for number in range(maps)}, note="no other map")
    figure = draw_maps(rows, [shown])
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels[1:]] == list(shown.maps)
    assert "no other map" in panels[0].get_title()
    for axes in panels[1:]:
        drawn = axes.images[-1]
        assert drawn.get_clim() == (0, 1)
        np.testing.assert_array_equal(np.ma.filled(drawn.get_array(), np.nan), values)
    assert [axes.get_ylabel() for axes in figure.axes if not axes.images and axes.get_ylabel()] == [
        shown.meaning
    ] * bool(maps)
    row = rows.iloc[0]
    heading = " ".join(figure.get_suptitle().split())
    assert f"true {row['label']}, predicted {row['predicted']} with probability {row['confidence']:.2f}" in heading
    assert f"the most confident of {row['of']} right cases" in heading
    figure.savefig(BytesIO())


def test_names_of_classes_and_files_are_no_formulas(make: Make) -> None:
    predictions = make(cases=24, seeds=1, classes=("a$", "$b_{$"))
    rename = {"case": predictions["case"] + "$x_{$.png"}
    chosen = choose_examples(predictions.assign(**rename), 1)
    shown = (
        Shown(row["sample"], maps={"$b_{$": np.eye(40, 60, dtype=np.float32)}) for row in chosen.to_dict("records")
    )
    for _, picture in draw_pictures(chosen, shown):
        assert Image.open(BytesIO(picture)).format == "JPEG"


def test_neighbours_stand_below_their_image(make: Make) -> None:
    rows = choose_examples(make(cases=24, views=("cc", "mlo"), seeds=1), 1).iloc[:2]
    maps = {"one": np.full((40, 60), 0.3, np.float32)}
    alike = [
        SimpleNamespace(sample=f"near {n}", label="Benign", distance=n / 4, image=np.zeros((30, 30, 3), np.uint8))
        for n in range(3)
    ]
    without = draw_maps(rows, [Shown(sample, maps=maps) for sample in rows["sample"]])
    figure = draw_maps(rows, [Shown(sample, maps=maps) for sample in rows["sample"]], {rows["sample"].iloc[1]: alike})
    titles = [axes.get_title() for axes in figure.axes if axes.images][-3:]
    first = f"nearest of those that fold {rows['fold'].iloc[1]} learnt from:"
    assert titles[0].split("\n") == [first, "Benign, distance 0.00", "near 0"]
    assert titles[1:] == ["Benign, distance 0.25\nnear 1", "Benign, distance 0.50\nnear 2"]
    assert figure.get_size_inches()[1] > without.get_size_inches()[1] + 1
