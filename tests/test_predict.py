"""Predicting new images by a run's or a sweep's model, as typed; and what cannot be predicted."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from src.config import Predict, Register
from src.data.sets.folder import Folder
from src.executors.local import Local
from src.images import BadImage
from src.predict import reader_of
from tests.support.commands import QUICK, run, tracking


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a sweep of two cells, one of which has a seed more."""
    workspace = tmp_path_factory.mktemp("fitted")
    process = run("run", *QUICK, "pool.p=1,3", "name=powers", workspace=workspace, sweep=True)
    assert process.returncode == 0, process.stderr
    return workspace


@pytest.fixture(scope="module")
def copies(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the training images under other names."""
    folder = tmp_path_factory.mktemp("copies")
    for file in sorted((workspace / "demo").rglob("*.png")):
        shutil.copy(file, folder / f"new-{file.name}")
    return folder


@pytest.mark.slow
def test_copies_of_a_sweeps_images_get_its_probabilities(workspace: Path, copies: Path, tmp_path: Path) -> None:
    (copies / "letter.png").write_text("Dear Sir")
    (copies / "letter.txt").write_text("Dear Sir")
    options = [f"input={copies}", f"output={tmp_path / 'new.csv'}", f"members={tmp_path / 'members.csv'}"]
    process = run("predict", "model=powers", *options, workspace=workspace)
    for name in ("letter.png", "letter.txt"):
        (copies / name).unlink()
    assert process.returncode == 0, process.stderr
    assert "input: 9 images\ninput: left out: .txt files 1 (letter.txt)" in process.stderr
    assert "letter.png: left out: letter.png: the file is not an image that can be read" in process.stderr
    assert "8 images are copies of images of the run" in process.stderr
    table = pd.read_csv(tmp_path / "new.csv", keep_default_na=False)
    classes = [f"p_{name}" for name in ("Normal", "Benign", "InSitu", "Invasive")]
    nearest = [f"nearest_{rank}{end}" for rank in (1, 2, 3) for end in ("", "_label", "_distance")]
    facts = ["label", "agreement", "spread", "distance", "unlike", *nearest, "outcome", "reason"]
    assert list(table) == ["case", *classes, *facts]
    copied = table[table["case"] != "letter.png"]
    assert ["new-" + Path(sample).name for sample in copied["nearest_1"]] == copied["case"].tolist()
    assert len(table) == 9
    members = pd.read_csv(tmp_path / "members.csv", keep_default_na=False)
    members["case"] = members["case"].str.removeprefix("new-")
    keep = tracking(workspace)
    for cell in keep.children(keep.find("powers").id):
        said = keep.predictions(cell)
        both = said.merge(members, on=["case", "model", "fold", "seed"], suffixes=("", "_new"))
        assert len(both) == len(said) == 8
        for name in classes:
            np.testing.assert_allclose(both[f"{name}_new"], both[name], rtol=0, atol=1e-6)
    mean = members.groupby("case")[classes].mean()
    known = table[table["case"] != "letter.png"].set_index("case").rename(index=lambda case: case.removeprefix("new-"))
    np.testing.assert_allclose(known[classes].astype(float), mean.loc[known.index], atol=1e-9)


@pytest.mark.slow
def test_the_challenges_submission(workspace: Path, copies: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(f"sample\n{copies}/new-b001.png\n{copies}/new-iv002.png\n")
    options = [f"input={tmp_path / 'new.csv'}", f"output={tmp_path / 'out.csv'}", "format=bach"]
    keep = tracking(workspace)
    one = keep.children(keep.find("powers").id)[0].id
    process = run("predict", f"model={one}", *options, workspace=workspace)
    assert process.returncode == 0, process.stderr
    made = pd.read_csv(tmp_path / "out.csv")
    assert list(made) == ["case", "class"]
    assert made["case"].tolist() == [1, 2]
    assert set(made["class"]) <= {0, 1, 2, 3}


@pytest.mark.slow
def test_no_submission_is_refused_before_any_work(workspace: Path, copies: Path, tmp_path: Path) -> None:
    shutil.copy(copies / "new-b001.png", tmp_path / "letter.png")
    (tmp_path / "new.csv").write_text(f"sample\n{copies}/new-b001.png\n{tmp_path}/letter.png\n")
    options = [f"input={tmp_path / 'new.csv'}", f"output={tmp_path / 'out.csv'}", "format=bach"]
    process = run("predict", "model=powers", *options, workspace=workspace)
    assert process.returncode == 1
    assert "an image of the challenge has a number, as test12.tif has, but" in process.stderr
    assert "encoding" not in process.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["model=0123456789abcdef0123456789abcdef"], "no run has the id or name '0123456789abcdef0123456789abcdef'"),
        (["model=power"], "nor is a model registered under it; did you mean powers"),
        (["model=powers@champion"], "no registered model is powers@champion"),
        (["model=powers", "input={copies}/nothing"], "input is a folder of images, a CSV or an image, but there is no"),
        (["model=powers", "input={copies}/../new.xlsx"], "but got {copies}/../new.xlsx: save the table as CSV"),
        (["model=powers", "output={copies}/no/such.csv"], "and there is no folder {copies}/no: make it"),
        (["model=powers", "output={copies}"], "but got output={copies}, which is a folder: name a file in it"),
        (["model=powers", "weights=/no.pth"], "weights=/no.pth, but the model's encoder takes no file of weights"),
        (["model=powers", "members={copies}/../out.csv", "output={copies}/../out.csv"], "output and members are two"),
        (["model=powers", "format=kaggle"], "`format` must be one of table, bach, but got format=kaggle"),
        ([], "give it on the command line: model=..."),
    ],
    ids=str,
)
def test_what_cannot_be_predicted_is_named(
    workspace: Path, copies: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    given = {"input": str(copies), "output": str(tmp_path / "out.csv")}
    given |= dict(option.format(copies=copies).split("=", 1) for option in options)
    (copies.parent / "new.xlsx").touch()
    process = run("predict", *(f"{key}={value}" for key, value in given.items()), workspace=workspace)
    assert said.format(copies=copies) in process.stderr
    assert "Traceback" not in process.stderr
    assert process.returncode == 1
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "wrong", [{"name": "a/b"}, {"name": ""}, {"alias": "v1"}, {"alias": "Latest"}, {"alias": "a b"}]
)
def test_names_that_mlflow_refuses_are_refused_before_any_work(wrong: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` is .* but got"):
        Register(**({"tracking": tracking(tmp_path), "model": "one", "name": "demo"} | wrong))


def test_what_is_advised_on_images_is_an_option(tmp_path: Path) -> None:
    """Of a model whose images were 8-bit RGB, given grey ones of 12 bits."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4), 4095, np.uint16))
    given = {"tracking": tracking(tmp_path), "model": "one", "input": "a", "output": "b.csv", "executor": Local()}
    reader = Folder(root=str(tmp_path))
    for advice, option in (("convert=true", {"convert": True}), ("bits=12", {"bits": 12})):
        with pytest.raises(BadImage, match=rf"\(of src\.predict {advice}\)"):
            reader.read("a.png")
        reader = reader_of(reader, Predict(**given, **option))
    assert (reader.read("a.png") == 255).all()
    assert reader_of(reader, Predict(**given)) == reader
    with pytest.raises(ValueError, match="bits=3"):
        Predict(**given, bits=3)


def test_help_says_how_and_loads_nothing_heavy(tmp_path: Path) -> None:
    process = run("predict", "--help", workspace=tmp_path)
    assert "model=NAME@ALIAS" in process.stdout
    assert process.returncode == 0


def test_nothing_that_could_be_predicted_is_a_failure_with_the_reasons_in_the_table(
    workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.png").write_bytes(b"no image")
    output = tmp_path / "out.csv"
    process = run("predict", "model=powers", f"input={tmp_path / 'new'}", f"output={output}", workspace=workspace)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == f"error: no case could be predicted; {output} holds the reasons"
    table = pd.read_csv(output)
    assert table["reason"].str.contains("not an image").all()
    assert table["unlike"].isna().all()  # nothing is known of how unlike it is
