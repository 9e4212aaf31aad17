"""What a run says of itself on MLflow's pages, and what is linked to it; on a real database."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.fold_tables import FUSION
from src.evaluation.text_tables import tabulate_folds, to_markdown
from src.tracking import CELL, SWEEP, TrackedRun, Tracking
from src.tracking.datasets import describe_dataset, of_runs
from src.tracking.pages import EXPERIMENT, LONGEST, NOTE, describe_page, link_model, write_headline

MANIFEST = pd.DataFrame(
    {
        "sample": ["a.png", "b.png", "c.png"],
        "case": ["1", "1", "2"],
        "patient": ["p", "p", ""],
        "view": ["cc", "mlo", "cc"],
        "label": pd.Categorical(["x", "x", "y"], ["x", "y", "z"]),
        "magnification": [40, 40, 100],
    }
)


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts", spool=f"{tmp_path}/spool")


def leave(run: TrackedRun) -> None:
    """What a cell leaves, as far as the pages go."""
    run.log({"encoder": "resnet", "encoder.label": "ResNet"}, {"accuracy": 0.75, "accuracy_low": 0.5, "ece": 0.1})
    run.log_data(describe_dataset("demo", "d" * 40, "/data/demo", MANIFEST))
    (run.folder / "metrics.json").write_text(json.dumps({"accuracy": 0.75, "accuracy_low": 0.5, "accuracy_high": 1.0}))
    (run.folder / "table.md").write_text("| model | mean |\n| --- | ---: |\n| ResNet-96 | 75.0 |\n\nuntrained\n")
    (run.folder / "roc.png").write_bytes(b"picture")
    (run.folder / "model").mkdir()
    (run.folder / "model" / "classes.json").write_text("[]")


def test_a_data_set_is_described_by_what_it_counts() -> None:
    described = describe_dataset("demo", "d" * 40, "/data/demo", MANIFEST)
    profile = json.loads(described["profile"])
    assert profile == {
        "num_rows": 3,
        "num_elements": 18,
        "cases": 2,
        "patients": 1,
        "classes": {"x": 1, "y": 1, "z": 0},
    }
    columns = {each["name"]: each["type"] for each in json.loads(described["schema"])["mlflow_colspec"]}
    assert (columns["sample"], columns["label"], columns["magnification"]) == ("string", "string", "long")
    assert described["digest"] == "d" * 12  # else it hides the name
    assert json.loads(described["source"]) == {"uri": "/data/demo"}


def test_a_run_has_a_description_a_data_set_and_a_model(tracking: Tracking) -> None:
    with tracking.run("ResNet-96", CELL) as run:
        leave(run)
    found = tracking.find("ResNet-96")
    note = found.tags[NOTE]
    assert note.startswith("| model | mean |")
    assert "\n\nAccuracy 0.750 (95 %: 0.500 to 1.000)\n\n" in note
    assert f"![roc](get-artifact?path=roc.png&run_uuid={run.id})" in note
    (data,) = found.datasets
    assert data["name"] == "demo"
    (output,) = tracking.client.get_run(run.id).outputs.model_outputs
    model = tracking.client.get_logged_model(output.model_id)
    assert (model.name, model.source_run_id, model.params) == ("ResNet-96", run.id, {"encoder": "resnet"})
    assert {(each.key, each.value, each.dataset_name) for each in model.metrics} == {("accuracy", 0.75, "demo")}
    assert len(tracking.client.get_metric_history(run.id, "accuracy")) == 1


def test_the_fused_row_stands_first(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"f1": [50.0, 60.0, 70.0], "mean": [50.0, 60.0, 70.0], "std": [0.0, 0.0, 0.0]}, index=["A", "B", FUSION]
    )
    (tmp_path / "table.md").write_text(to_markdown(tabulate_folds(table)) + "\na note\n")
    lines = describe_page(tmp_path, "1").splitlines()
    assert [line.split("|")[1].strip(" *") for line in lines[2:5]] == [FUSION, "A", "B"]
    assert lines[-1] == "a note"


def test_a_page_shows_the_tags_that_are_for_people(tracking: Tracking) -> None:
    with tracking.run("one", CELL, tags={"job": "3", "digest": "abc"}) as run:
        run.log(tags={"notes": "untrained"})
    tracking.beat(run.id)
    stored = tracking.client.get_run(run.id).data.tags
    shown = {name for name in stored if not name.startswith("mlflow.")}
    assert shown == {"kind", "digest", "notes", "command", "git_commit", "git_dirty", "host"}
    for found in (tracking.find(run.id), tracking.search()[-1]):
        assert (found.tags["job"], found.tags["digest"]) == ("3", "abc")
        assert {"pid", "process", "heartbeat", "version.torch"} <= found.tags.keys()


def test_first_figures_are_a_sentence_of_those_that_are_known(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    file.write_text('{"accuracy": NaN, "balanced_accuracy": 0.5, "binary_auc": 0.75, "ece": 0.1}')
    assert write_headline(file) == "Balanced accuracy 0.500, two-class AUC 0.750"
    assert write_headline(tmp_path / "none.json") == ""


def test_a_second_time_changes_nothing(tracking: Tracking) -> None:
    with tracking.run("ResNet-96", CELL) as run:
        leave(run)
    link_model(tracking.client, run.id)
    with tracking.open(run.id) as again:
        leave(again)
    found = tracking.client.get_run(run.id)
    assert (len(found.outputs.model_outputs), len(found.inputs.dataset_inputs)) == (1, 1)


def test_what_did_not_finish_has_no_model(tracking: Tracking) -> None:
    def fail() -> None:
        with tracking.run("ResNet-96", CELL) as run:
            leave(run)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not tracking.client.get_run(tracking.find("ResNet-96").id).outputs.model_outputs


def test_the_data_of_cells_are_those_of_their_sweep(tracking: Tracking) -> None:
    parent = tracking.create("sweep", SWEEP)
    for name in ("a", "b"):
        with tracking.run(name, CELL, parent) as run:
            leave(run)
    with tracking.open(parent) as run:
        for data in of_runs(tracking.children(parent)):
            run.log_data(data)
    (data,) = tracking.find(parent).datasets
    assert (data["name"], data["digest"]) == ("demo", "d" * 12)


def test_names_that_a_model_must_not_have_are_no_obstacle(tracking: Tracking) -> None:
    with tracking.run("ResNet-96 pool.p=1 data.path=/a:b%", CELL) as run:
        leave(run)
    (output,) = tracking.client.get_run(run.id).outputs.model_outputs
    assert tracking.client.get_logged_model(output.model_id).name == "ResNet-96 pool-p=1 data-path=-a-b-"


def test_the_experiment_is_one_of_trained_models(tracking: Tracking) -> None:
    tracking.create("sweep", SWEEP)
    found = tracking.client.get_experiment_by_name("tenfold")
    assert EXPERIMENT.items() <= found.tags.items()


def test_a_run_that_the_server_does_not_know_yet_has_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "table.md").write_text("| a |\n")
    (tmp_path / "roc.png").write_bytes(b"picture")
    assert describe_page(tmp_path, "spooled-1") == "| a |"
    assert describe_page(tmp_path / "nothing", "1") == ""


@given(st.integers(0, 3000))
def test_a_description_fits_into_a_tag(rows: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "table.md").write_text("| model | mean |\n" + "| ResNet-96 | 75.0 |\n" * rows)
        text = describe_page(Path(folder), "1")
    assert len(text) < LONGEST + 100
    assert all(line in ("| model | mean |", "| ResNet-96 | 75.0 |") for line in text.splitlines()[: min(rows, 100)])


class Old(BaseHTTPRequestHandler):
    """A server that knows a run, and of models as much as MLflow 2."""

    def do_GET(self) -> None:
        info = {"run_id": "1", "run_uuid": "1", "run_name": "a", "experiment_id": "1", "status": "FINISHED"}
        self.answer(200, {"run": {"info": info, "data": {}}})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(404, {"error_code": "ENDPOINT_NOT_FOUND", "message": self.path})

    def answer(self, code: int, content: dict[str, object]) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_from_before_models_of_runs_is_left_alone() -> None:
    from mlflow import MlflowClient

    with HTTPServer(("127.0.0.1", 0), Old) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        link_model(MlflowClient(f"http://127.0.0.1:{server.server_port}"), "1")
        server.shutdown()
