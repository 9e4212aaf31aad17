"""Sweeps whose cells cannot all be fused: groups, side by side, with their gap; and learning curves."""

import io
import re
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from src.cli.mistakes import explain_error
from src.config import CONF, settle_config
from src.sweeps.callback import cell_name, check_cells, finish_sweep, indistinct_groups, varied_values
from src.sweeps.fusion import fuse_sweep, name_in_group, published_at, told_by, training_patients
from src.sweeps.resume import Sweep
from src.tracking import CELL, SWEEP, SWEPT, RunRecord, Tracking
from tests.support.commands import QUICK, ROOT, run
from tests.support.encoders import ADDRESSED

CASES = 24
SIDES = ["left", "right"]


def manifest(cases: int = CASES) -> pd.DataFrame:
    """Two cases a patient, of one class; in turn left and right."""
    numbers = range(cases)
    rows = [(f"{n}.png", f"{n:02d}", f"p{n // 2}", "", "ab"[n // 2 % 2], SIDES[n % 2]) for n in numbers]
    return pd.DataFrame(rows, columns=["sample", "case", "patient", "view", "label", "side"])


def predictions(folds: np.ndarray, signal: float, draw: int) -> pd.DataFrame:
    table = manifest(len(folds)).drop(columns="side").assign(model="m", fold=folds, seed=0)
    score = np.random.default_rng(draw).normal(size=len(folds)) + signal * np.where(table["label"] == "b", 1, -1)
    return table.assign(p_a=1 / (1 + np.exp(score)), p_b=1 / (1 + np.exp(-score)))


def roles(folds: np.ndarray, patients: int) -> pd.DataFrame:
    """Every fold learns from the first of its training patients, and decides by the last of them when to stop."""
    tables = []
    for fold in sorted(set(folds)):
        table = manifest(len(folds)).assign(fold=fold, role="unused")
        training = table["patient"][folds != fold].unique()[: patients or None]
        table.loc[table["patient"].isin(training) & (folds != fold), "role"] = "fit"
        table.loc[(table["patient"] == training[-1]) & (folds != fold), "role"] = "stopping"
        table.loc[folds == fold, "role"] = "report"
        tables.append(table[["case", "fold", "role"]])
    return pd.concat(tables)


PROTOCOLS = {"image_kfold": np.arange(CASES) % 3 + 1, "kfold": np.arange(CASES) // 2 % 3 + 1}


def track(
    tracking: Tracking, parent: str, encoder: str, protocol: str, patients: int = 0, cases: int = CASES, turned: int = 0
) -> None:
    """Leave what a cell of a sweep leaves."""
    name = f"{encoder} protocol={protocol} training_patients={patients}"
    folds = np.roll(PROTOCOLS[protocol], turned)[:cases]
    signal = {"image_kfold": 1.5, "kfold": 0.8}[protocol] * (0.5 if patients else 1)
    with tracking.run(name, CELL, parent) as cell:
        predictions(folds, signal, len(encoder)).to_parquet(cell.folder / "predictions.parquet")
        manifest(cases).to_csv(cell.folder / "manifest.csv", index=False)
        roles(folds, patients).to_csv(cell.folder / "roles.csv", index=False)
        params = {"protocol": protocol, "training_patients": patients, "slices": ["side"], "published": ""}
        cell.log(params=params, tags={"splits": protocol, "notes": "made up"})


def workspace(folder: Path, *cells: dict[str, int]) -> tuple[Tracking, str]:
    tracking = Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifacts=f"{folder}/artifacts")
    parent = tracking.create("both", SWEEP, tags={SWEPT: "encoder training_patients protocol"})
    for cell in cells:
        for encoder in ("AlexNet-8", "VGG-8"):
            for protocol in PROTOCOLS:
                track(tracking, parent, encoder, protocol, **cell)
    return tracking, parent


Swept = tuple[Path, Tracking, str, str]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A finished sweep over two protocols and two numbers of patients, and what it printed."""
    folder = tmp_path_factory.mktemp("sweep")
    tracking, parent = workspace(folder, {"patients": 5}, {"patients": 0})
    printed = io.StringIO()
    with redirect_stdout(printed):
        finish_sweep(tracking, parent, 8, None, 50)
    return folder, tracking, parent, printed.getvalue()


def table(tracking: Tracking, parent: str, name: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(tracking.artifact(tracking.find(parent), name)))


@pytest.mark.slow
class TestGroups:
    def test_each_has_its_own_table(self, swept: Swept) -> None:
        for group in ("kfold_all_patients", "image_kfold_5_patients"):
            rows = table(*swept[1:3], f"{group}/table.csv")
            assert rows["model"].tolist() == ["AlexNet-8", "VGG-8", "std over models", "Model fusion"]
            assert table(*swept[1:3], f"{group}/slices.csv")["value"].tolist()[1:] == SIDES

    def test_they_stand_side_by_side_with_their_gap(self, swept: Swept) -> None:
        _, tracking, parent, _ = swept
        text = tracking.artifact(tracking.find(parent), "groups.md").decode()
        assert text.splitlines()[0] == "| model | patients | image_kfold * | kfold | gap |"
        assert "| Model fusion | all (8 to 12) |" in text
        assert "* image-level: patients stand on both sides" in text
        rows = table(tracking, parent, "groups.csv").set_index(["model", "group"])["mean"]
        gaps = table(tracking, parent, "gaps.csv").set_index(["model", "training_patients"])["gap"]
        for model in ("AlexNet-8", "Model fusion"):
            wanted = rows[model, "image_kfold 5 patients"] - rows[model, "kfold 5 patients"]
            assert gaps[model, 5] == pytest.approx(wanted, abs=1e-3)

    def test_metrics_are_told_apart(self, swept: Swept) -> None:
        _, tracking, parent, _ = swept
        metrics = tracking.find(parent).metrics
        assert {"kfold_5_patients/accuracy", "image_kfold_all_patients/accuracy"} <= metrics.keys()

    def test_the_learning_curve_is_at_the_real_numbers(self, swept: Swept) -> None:
        curve = table(*swept[1:3], "learning_curve.csv")
        place = curve.drop_duplicates("group").set_index("group")["patients"]
        # An image-level fold learns from all 12 patients, a patient-level one from 8.
        assert place["kfold 5 patients"] == 5
        assert (place["kfold all patients"], place["image_kfold all patients"]) == (8, 12)
        assert swept[1].artifact(swept[1].find(swept[2]), "learning_curve.png").startswith(b"\x89PNG")

    def test_they_can_be_fused_again(self, swept: Swept, tmp_path: Path) -> None:
        folder, tracking, parent, printed = swept
        again = run("fuse", "sweep=both", "replicates=50", f"output={tmp_path}", workspace=folder)
        assert again.returncode == 0, again.stderr
        assert again.stdout == printed
        for name in ("groups.csv", "groups.md", "gaps.csv", "learning_curve.csv", "kfold_5_patients/table.csv"):
            assert (tmp_path / name).read_bytes() == tracking.artifact(tracking.find(parent), name)


@pytest.mark.slow
def test_a_group_that_cannot_be_fused_leaves_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tracking, parent = workspace(tmp_path)
    for encoder, protocol, cases in (("A", "kfold", 24), ("B", "kfold", 24), ("A", "image_kfold", 24)):
        track(tracking, parent, encoder, protocol, cases=cases)
    track(tracking, parent, "B", "image_kfold", turned=1)
    with pytest.raises(SystemExit, match=r"cells of image_kfold could not be fused: .* fold"):
        finish_sweep(tracking, parent, 4, None, 20)
    assert "Model fusion" in capfd.readouterr().out
    assert table(tracking, parent, "kfold/table.csv")["model"].tolist()[-1] == "Model fusion"
    assert tracking.find(parent).status == "FINISHED"


def test_cells_of_which_one_has_bad_images_are_fused_on_the_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracking, parent = workspace(tmp_path)
    track(tracking, parent, "A", "kfold")
    track(tracking, parent, "B", "kfold", cases=22)
    finish_sweep(tracking, parent, 2, None, 20)
    printed = capfd.readouterr()
    assert "2 cases are left out, as not all of these runs predict them: 22, 23" in printed.out + printed.err
    found = table(tracking, parent, "table.csv")
    assert [name[:1] for name in found["model"]] == ["A", "B", "s", "M"]


def test_a_mistake_of_this_machine_is_not_told_as_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking, parent = workspace(tmp_path)
    track(tracking, parent, "A", "kfold")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError):
        finish_sweep(tracking, parent, 1, None, 20)


@pytest.mark.parametrize("key", ["pool.p", "+pool.p", "++pool.p"])
def test_what_is_varied_has_one_name_however_it_is_given(key: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", return_hydra_config=True)
        config.hydra.overrides.task = [f"{key}=1,3"]
        assert varied_values(config) == {"pool.p": ["1", "3"]}


@pytest.mark.parametrize(
    ("swept", "said"),
    [
        (["+classifier.strength=0.001,1"], r"there is no classifier\.strength; the keys of classifier are "),
        (["clasifier.c=1,2"], r"there is no clasifier; .*did you mean classifier\?"),
        (["encoder=resnet,vgg,resnt"], r"Could not find 'encoder/resnt'; .*did you mean resnet\?"),
        (["classifier=logistic,knn", "++classifier.c=1,2"], r"there is no classifier\.c; the keys of classifier are "),
        (["pool.p=1,3,1.0"], r"pool\.p has 1\.0 twice"),
        (["pool.p=1,3", "pool.p=2", "seed=0,1"], ""),
        (["encoder=resnet,keras_vgg", "crop=half224,whole", "++seed=1,2"], ""),
    ],
)
def test_what_is_wrong_with_the_cells_of_a_sweep_is_said_before_it_begins(swept: list[str], said: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["seed=3"], return_hydra_config=True)
        config.hydra.overrides.task = swept
        if not said:
            check_cells(config)
            return
        with pytest.raises((ValueError, HydraException)) as raised:
            check_cells(config)
    assert re.search(said, explain_error(raised.value))


@pytest.mark.parametrize("option", sorted({path.stem for path in (CONF / "encoder").glob("*.yaml")} - ADDRESSED))
def test_an_encoder_stands_in_a_cells_name_by_its_label_alone(option: str) -> None:
    """As in the tables of papers, ResNet-400; two options of one label are told apart."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = settle_config(compose("config", [f"encoder={option}", "encoder.weights=random", "crop=half400"]))
    swept = Sweep("id", ["encoder", "crop"])
    assert cell_name(config, {"encoder": option, "crop": "half400"}, swept) == f"{config.encoder.label}-400"
    assert indistinct_groups({"encoder": ["resnet", "vgg", "keras_vgg"]}) == ["encoder"]
    assert indistinct_groups({"encoder": ["resnet", "vgg"], "crop": ["half400", "half650"]}) == []


def test_a_cells_name_says_an_option_of_the_users_own_once(tmp_path: Path) -> None:
    for name, label in (("lite0", "Lite0"), ("lite1", "Lite1")):
        (tmp_path / "encoder").mkdir(exist_ok=True)
        file = tmp_path / "encoder" / f"{name}.yaml"
        file.write_text(f"defaults: [/schema/Timm@_here_]\nlabel: {label}\narchitecture: tf_efficientnet_{name}\n")
    code = f"""
import sys
from src.cli.command import command
from src.sweeps.callback import cell_name
from src.sweeps.resume import Sweep
from hydra.core.hydra_config import HydraConfig
sys.argv = ["run", "--config-dir", {str(tmp_path)!r}, "encoder=lite0", "crop.size=400"]
choices = lambda: HydraConfig.get().runtime.choices
command(lambda config: print(cell_name(config, choices(), Sweep("id", ["encoder", "pool.p"]))), "config")
"""
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "Lite0-400 pool.p=3.0\n"


def test_one_group_is_as_it_was(tmp_path: Path) -> None:
    tracking, parent = workspace(tmp_path)
    track(tracking, parent, "A", "kfold", 5)
    track(tracking, parent, "B", "kfold", 5)
    fusion = fuse_sweep(tracking, tracking.children(parent), ["encoder", "protocol"], 20)
    assert fusion.together is None
    (group,) = fusion.groups
    assert group.title == ""
    assert group.evaluation.table.index[0] == "A protocol=kfold training_patients=5"
    assert not group.leaks
    assert training_patients(tracking, tracking.children(parent)) == 5
    assert group.evaluation.slices["column"].tolist() == ["all", "side", "side"]
    again = fuse_sweep(tracking, tracking.children(parent), [], 20, slices=["label"]).groups[0]
    assert again.evaluation.slices["column"].tolist() == ["all", "label", "label"]


def recorded(**params: str) -> dict[str, RunRecord]:
    values = {key.replace("__", "."): value for key, value in params.items()}
    run = RunRecord(
        id="id", name="", status="FINISHED", start=datetime.now(UTC), end=None, params=values, tags={}, metrics={}
    )
    return {str(params): run}


def test_groups_are_told_by_what_is_one_within_each() -> None:
    parts = [
        recorded(protocol="kfold", data__crop="a", encoder="x")
        | recorded(protocol="kfold", data__crop="b", encoder="x"),
        recorded(protocol="holdout", data__crop="a", encoder="y"),
    ]
    assert told_by(parts, ["encoder", "protocol", "data.crop"]) == [{"protocol": "kfold"}, {"protocol": "holdout"}]
    assert told_by(parts, ["encoder"]) == [{"group": "1"}, {"group": "2"}]
    assert told_by(parts[:1], ["encoder", "protocol"]) == [{}]
    assert name_in_group("X-8 protocol=kfold pool.p=1", {"protocol": "kfold"}) == "X-8 pool.p=1"


def test_published_figures_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(published_at("experiments/rakhlin2018/published/table1.csv")) == 7
    with pytest.raises(ValueError, match="there is none at nowhere.csv"):
        published_at("nowhere.csv")


@pytest.mark.slow
def test_a_real_sweep_over_protocols(tmp_path: Path) -> None:
    published = "published=experiments/rakhlin2018/published/table1.csv"
    varied = ["protocol=image_kfold,kfold", "data.cases=24", "slices=[label]", published, "name=protocols"]
    process = run("run", *QUICK, *varied, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    for said in ("protocols: accuracy, %, side by side", "image_kfold *", "gap", "published", "87.2 +- 2.6"):
        assert said in process.stdout
