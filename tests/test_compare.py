"""Comparing tracked runs: what is shown and written, the ledger's partners, and what cannot be compared."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from src.cli.verdicts import describe_comparison, fit_terminal, write_comparison
from src.compare import comparison_notes, held_out_ratios, newest_sweep, of_runs, of_sweep, spell_experiment
from src.config import CONF, Compare, flatten_config
from src.evaluation.two_classes import Binary
from src.sweeps.ledger_runs import OTHERS, Ledger, makes_predictions, overrides_of
from src.system.next_commands import key_of, override
from src.tracking import CELL, SWEEP, Tracking
from tests.support.commands import QUICK, ROOT, run
from tests.support.predictions import roles_of
from tests.support.simulation import pair

PARAMS = {"protocol": "kfold", "protocol.folds": "5", "encoder": "resnet", "seeds": "[0]", "workspace": "mlruns"}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """Runs that fit, and runs that do not; a sweep of two tasks; the two ways of tuning."""
    workspace = tmp_path_factory.mktemp("compare")
    tracking = Tracking(
        uri=f"sqlite:///{workspace}/mlflow.db", artifacts=f"{workspace}/artifacts", spool=f"{workspace}/spool"
    )
    tables = pair(np.random.default_rng(0), patients=60, accuracies=(0.6, 0.9))
    keep(tracking, "worse", tables["one"])
    keep(tracking, "better", tables["two"], encoder="vgg")
    keep(tracking, "lacking", tables["one"].iloc[3:], encoder="lacking")
    folds = tables["one"]["fold"]
    keep(tracking, "other folds", tables["one"].assign(fold=folds % 5 + 1), splits="t", encoder="x")
    keep(tracking, "other cases", tables["one"].iloc[1:], splits="u", encoder="y")
    by_image = tables["two"].assign(fold=folds % 4 + 1)
    keep(tracking, "leaking", by_image, splits="v", protocol="image_kfold")
    keep(tracking, "tuned", tables["one"], {"tuned": "nested", "study": "n"}, seeds="[1]")
    keep(tracking, "tuned, optimistic", tables["two"], {"tuned": "flagged", "study": "f"}, seeds="[1]")
    swept(tracking)
    reproduced(tracking)
    tracking.create("empty", SWEEP)
    return tracking


def keep(
    tracking: Tracking,
    name: str,
    table: pd.DataFrame,
    tags: dict[str, str] | None = None,
    splits: str = "s",
    parent: str = "",
    **params: str,
) -> None:
    with tracking.run(name, CELL, parent, {"data": "d", "splits": splits} | (tags or {})) as tracked:
        tracked.log(params=PARAMS | params)
        table.to_parquet(tracked.folder / "predictions.parquet")
        roles_of(table).to_csv(tracked.folder / "roles.csv", index=False)


def swept(tracking: Tracking) -> None:
    sweep = tracking.create("tasks", SWEEP, tags={"sweep_keys": "encoder data.task"})
    for task, patients in {"one": 30, "two": 40}.items():
        tables = pair(np.random.default_rng(1), patients=patients)
        for name, table in zip(("A", "B"), tables.values(), strict=True):
            params = {"experiment": "demo", "encoder": name, "data.task": task}
            keep(tracking, f"{name} data.task={task}", table, splits=task, parent=sweep, **params)
    keep(tracking, "C data.task=odd", tables["one"].iloc[2:], splits="odd", parent=sweep, **{"data.task": "odd"})
    tracking.end(sweep, "FINISHED")


def reproduced(tracking: Tracking) -> None:
    """A sweep of an experiment that has published figures."""
    sweep = tracking.create("ours", SWEEP, tags={"sweep_keys": "encoder"})
    params = {"experiment": "rakhlin2018", "published": "experiments/rakhlin2018/published/table1.csv"}
    tables = pair(np.random.default_rng(2), patients=100, classes=4, accuracies=(0.6, 0.8))
    for name, table in zip(("ResNet-400", "VGG-400"), tables.values(), strict=True):
        keep(tracking, name, table, parent=sweep, encoder=name, **params)
    tracking.end(sweep, "FINISHED")


@pytest.fixture(autouse=True)
def composing() -> Iterator[None]:
    """What a command finds when it begins."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def options(tracking: Tracking, **given: object) -> Compare:
    return Compare(tracking=tracking, replicates=50, **given)  # type: ignore[arg-type]


def test_the_command_shows_verdicts_and_the_ledger_and_writes_them(tracking: Tracking, tmp_path: Path) -> None:
    workspace = Path(tracking.uri.removeprefix("sqlite:///")).parent
    before = len(tracking.search())
    process = run("compare", "runs=[worse,better]", "replicates=50", f"output={tmp_path / 'out'}", workspace=workspace)
    assert process.returncode == 0, process.stderr
    for said in (
        "each against worse",
        "│ better │ accuracy",
        "McNemar's test takes",
        "optimism ledger",
        "image_kfold: run",
    ):
        assert said in process.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("comparison.csv", "comparison.md", "comparison.tex", "optimism.csv")
    }
    table = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert table["verdict"].tolist() == ["better"] * 3
    assert table["difference"][0] == pytest.approx(table["value"][0] - table["reference_value"][0], abs=2e-6)
    assert "| better | accuracy | better |" in (tmp_path / "out" / "comparison.md").read_text()
    ledger = pd.read_csv(tmp_path / "out" / "optimism.csv").set_index(["practice", "model"])
    assert ledger.loc[("folds by image", "worse"), "optimism"] > 20  # the run that leaks is the better one's
    assert len(tracking.search()) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs=[worse,other folds]"], "same fold in all runs, but"),
        (["runs=[worse,nobody]"], "no run has the id or name 'nobody'"),
        (["experiment=nothing"], "`experiment` must be one of demo,"),
        ([], "give one of runs=[A,B,...]"),
    ],
    ids=str,
)
def test_mistakes_are_one_message(tracking: Tracking, arguments: list[str], said: str) -> None:
    process = run("compare", *arguments, workspace=Path(tracking.uri.removeprefix("sqlite:///")).parent)
    assert process.returncode == 1
    assert said in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda t: of_runs(options(t, runs=["worse", "other cases"]), None), "run 'other cases' lacks 1"),
        (lambda t: of_runs(options(t, runs=["worse", "worse"]), None), "worse is given twice"),
        (lambda t: of_runs(options(t, runs=["worse"]), None), "two runs or more, but got 1"),
        (lambda t: of_runs(options(t, runs=["worse", "better"], reference="x"), None), "one of worse, better, but got"),
        (
            lambda t: of_runs(options(t, runs=["worse", "tasks"]), None),
            "is a sweep, but a run is asked for: give it as sweep=",
        ),
        (lambda t: of_sweep(options(t, sweep="empty"), None), "has 0 finished cells, but a comparison needs two"),
        (lambda t: of_sweep(options(t, sweep="nothing"), None), "no sweep has the id or name 'nothing'"),
        (lambda t: newest_sweep(t, "yi2017"), "no sweep of experiment yi2017.*src.run -m experiment=yi2017"),
        (lambda t: of_runs(options(t, runs=["worse", "nobody"]), None), "the newest are VGG-400, ResNet-400, C data"),
    ],
)
def test_what_cannot_be_compared_is_named(ask: Callable[[Tracking], object], said: str, tracking: Tracking) -> None:
    with pytest.raises(ValueError, match=said):
        ask(tracking)


def test_cases_that_are_bad_for_one_run_are_left_out(tracking: Tracking) -> None:
    found = of_runs(options(tracking, runs=["better", "lacking"]), None)
    assert found.parts[0].notes[-1].startswith("3 cases are left out, as not all of these runs predict them: ")


def test_the_reference_may_be_an_id(tracking: Tracking) -> None:
    wanted = tracking.find("better").id
    part = of_runs(options(tracking, runs=["worse", "better"], reference=wanted), None).parts[0]
    assert set(part.comparison["reference"]) == {"better"}
    assert part.comparison["verdict"].tolist() == ["worse"] * 3


def test_the_two_ways_of_tuning_are_told_once(tracking: Tracking) -> None:
    (part,) = of_runs(options(tracking, runs=["tuned", "tuned, optimistic"]), None).parts
    (row,) = part.ledger[part.ledger["practice"] == "tuned on the reported folds"].to_dict("records")
    assert row["claimed"] > row["honest"] + 20
    assert row["low"] > 0
    assert row["note"].startswith("flagged: study f")


@pytest.mark.parametrize("given", [{"sweep": "tasks"}, {"newest_of": "demo"}], ids=str)
def test_a_sweep_is_compared_by_cases_and_folds(tracking: Tracking, given: dict[str, str]) -> None:
    found = of_sweep(options(tracking, **given), None)
    assert [part.title for part in found.parts] == ["one", "two"]
    for part in found.parts:
        assert part.comparison["model"].tolist() == ["B"] * 3
        assert set(part.comparison["reference"]) == {"A"}
    assert found.left == ["C data.task=odd is alone on its cases and folds: nothing to compare it with"]
    assert found.published is None
    assert "# tasks one: each against A" in describe_comparison(found)


def test_an_experiment_stands_beside_what_is_published(tracking: Tracking, tmp_path: Path) -> None:
    found = of_sweep(options(tracking, newest_of="rakhlin2018"), None)
    assert found.title == "ours"
    assert found.published is not None
    rows = found.published.set_index("model")
    assert rows.loc["ResNet-400", ["published", "verdict"]].tolist() == [84.2, "worse"]
    assert rows.loc["VGG-400", "verdict"] == "not shown"
    assert np.isnan(rows.loc["Inception-400", "ours"])
    write_comparison(found, tmp_path)
    assert len(pd.read_csv(tmp_path / "published.csv")) == len(rows)
    assert "| ResNet-400 | accuracy | worse | 84.2 +- 4.2 |" in (tmp_path / "comparison.md").read_text()


def test_the_ratio_is_that_of_the_roles(tracking: Tracking) -> None:
    roles = pd.DataFrame({"case": list("abcd"), "fold": 1, "role": ["fit", "stopping", "unused", "report"]})
    with tracking.run("roles", CELL) as tracked:
        roles.to_csv(tracked.folder / "roles.csv", index=False)
    runs = {name: tracking.find(name) for name in ("roles", "leaking")}
    assert held_out_ratios(tracking, runs) == {"roles": 0.5, "leaking": pytest.approx(1 / 3, abs=0.03)}


def test_a_narrow_terminal_shows_what_the_verdict_hangs_on(tracking: Tracking) -> None:
    part = of_runs(options(tracking, runs=["worse", "better"]), None).parts[0]
    full = part.verdicts("comparison")
    assert fit_terminal(full, 160) == full
    narrow = fit_terminal(full, 100)
    assert narrow.header == ["model", "metric", "verdict", "difference (95 %)", "p adj.", "could show"]
    assert [row[:3] for row in narrow.rows] == [row[:3] for row in full.rows]
    assert [row[4] for row in narrow.rows] == [row[7] for row in full.rows]
    assert narrow.notes == ["a wider terminal shows the other tests, output=FOLDER writes them", *full.notes]


def test_experiment_is_spelled_for_hydra() -> None:
    assert spell_experiment(["compare", "experiment=demo", "sweep=experiment=x"]) == [
        "compare",
        "newest_of=demo",
        "sweep=experiment=x",
    ]


def test_published_folds_that_part_patients_are_held_to_be_optimistic(tmp_path: Path) -> None:
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts", spool=f"{tmp_path}/s")
    tables = pair(np.random.default_rng(0), patients=60, accuracies=(0.6, 0.9))
    keep(tracking, "given", tables["two"], {"audit_patients": "9"}, splits="g", protocol="published")
    (lacking,) = Ledger(tracking=tracking).by_image("given", tracking.find("given"), tables["two"])
    assert "protocol=kfold" in lacking.note
    keep(tracking, "honest", tables["one"])
    for name, table in (("given", "two"), ("honest", "one")):
        ledger = Ledger(tracking=tracking, replicates=20)
        found = list(ledger.by_image(name, tracking.find(name), tables[table]))
        if name == "given":
            assert found[0].claimed > found[0].honest + 0.2


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("None", "k=null"),
        ("[0, 1]", "k=[0, 1]"),
        ("[{'trainable': 'head', 'epochs': 2}]", "k=[{trainable: 'head', epochs: 2}]"),
        ("/a/b.csv", "k=/a/b.csv"),
        ("/a b(1)", "k='/a b(1)'"),
        ("", "k="),
        ("研究", "k='研究'"),
    ],
)
def test_values_are_written_as_the_command_line_takes_them(value: str, written: str) -> None:
    assert override("k", value) == written


@pytest.mark.parametrize(
    ("program", "given"),
    [
        ("run", ["data=folder", "data.root=a b/c", "encoder=vgg", "pool.p=3", "seeds=[0,1]", "protocol.seed=4"]),
        ("run", ["data=csv", "data.path=a.csv", "finetune=head", "finetune.epochs=3"]),
        ("run", ["experiment=yi2017", "method=finetune", "data.root=x"]),
        ("tune", ["data=demo", "search=logistic", "classifier=logistic", "trials=7", "classifier.c=3"]),
    ],
    ids=str,
)
def test_the_ledgers_command_leads_to_the_same_values(program: str, given: list[str]) -> None:
    config = {"run": "config", "tune": "tune"}[program]
    made = compose(config, given, return_hydra_config=True)
    choices = {str(group): str(option) for group, option in made.hydra.runtime.choices.items()}
    wanted = flatten_config(compose(config, given))
    params = {key: str(value) for key, value in wanted.items()} | choices
    overrides = overrides_of(params, program, "protocol=image_kfold")
    found = flatten_config(compose(config, overrides))
    method = params["method"]
    alike = [
        key for key in wanted if makes_predictions(key, method) or key.split(".")[0] in ("protocol", "trials", "search")
    ]
    assert {key: found[key] for key in alike} == {key: wanted[key] for key in alike}
    keys = [key_of(each) for each in overrides]
    assert len(set(keys)) == len(keys)  # a data set was named twice
    assert not {key.split(".")[0] for key in keys} & set(OTHERS[params["method"]])


@pytest.mark.slow
def test_the_ledgers_command_makes_what_it_lacks(tmp_path: Path) -> None:
    """Two real runs; the command that the ledger names is run as it stands, and the ledger then has its row."""
    cells = run("run", *QUICK[1:], "data=demo", "pool.p=1,3", "seeds=[0,1]", workspace=tmp_path, sweep=True)
    assert cells.returncode == 0, cells.stderr
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts")
    (sweep,) = tracking.search({"kind": SWEEP})
    name = sweep.id
    before = run("compare", f"sweep={name}", "replicates=50", workspace=tmp_path)
    assert before.returncode == 0, before.stderr
    lacking = [line for line in before.stdout.splitlines() if "to make it: " in line]
    assert len(lacking) == 2
    command = shlex.split(lacking[1].split("to make it: ")[1])
    subprocess.run([sys.executable, *command[1:]], cwd=ROOT, check=True, capture_output=True, timeout=240)
    after = run("compare", f"sweep={name}", "replicates=50", workspace=tmp_path)
    assert "image_kfold: run" in after.stdout
    assert after.stdout.count("to make it: ") == 1


def test_a_comparison_says_what_two_classes_are_and_what_the_most_frequent_one_gives() -> None:
    tables = pair(np.random.default_rng(0), patients=12)
    names = {"p_c0": "p_cancer", "p_c1": "p_healthy"}
    table = tables["one"].rename(columns=names).replace({"label": {"c0": "cancer", "c1": "healthy"}})
    lines = comparison_notes(table, Binary())
    share = table["label"].value_counts(normalize=True)
    assert (
        lines[0] == f"always naming {share.index[0]}, the most frequent class, is right in {100 * share.iloc[0]:.1f} %"
    )
    assert lines[1] == "two classes: cancer (positive) against healthy"
    assert lines[2].startswith("the positive class is cancer, by its name")
    assert lines[3].startswith("12 patients are few")
    assert not any("positive class is" in line for line in comparison_notes(table, Binary(positive=["healthy"])))


def test_folds_drawn_once_say_what_they_cannot_see() -> None:
    table = pair(np.random.default_rng(0), patients=80)["one"]
    again = table.assign(repeat=2, fold=table["fold"] + 5, model="m2")
    once, twice = (comparison_notes(each, Binary()) for each in (table, pd.concat([table.assign(repeat=1), again])))
    assert [line for line in once if line.startswith("5 folds, drawn once") and "protocol.repeats=10" in line]
    assert not [line for line in twice if "drawn once" in line or "McNemar" in line]
    alone = comparison_notes(table.assign(fold=1), Binary())
    assert [line for line in alone if line.startswith("one fold: luck")]
