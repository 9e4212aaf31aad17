"""Registered models: without pickles, in other processes and over HTTP the same as on the command line."""

import base64
import io
import json
import os
import pickletools
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import torch
from PIL import Image

from src.config import CONF
from src.encoders.torchvision import Torchvision
from src.tracking import CELL, SWEEP, Tracking
from src.tracking.model_registry import locate_model, make_example, version_of
from tests.support.commands import QUICK, ROOT, run
from tests.support.commands import tracking as tracking_of


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts")


def finished(tracking: Tracking, name: str, parent: str = "", **tags: str) -> str:
    """A run with a file in its model's folder."""
    with tracking.run(name, CELL, parent) as tracked:
        (tracked.folder / "model").mkdir()
        (tracked.folder / "model" / "model.json").write_text("{}")
        tracked.log(tags=tags)
    return tracked.id


class TestLocating:
    def test_a_run_by_name_or_id(self, tracking: Tracking, tmp_path: Path) -> None:
        run_id = finished(tracking, "one")
        for model in ("one", run_id):
            located = locate_model(tracking, model, tmp_path / "place")
            assert located.run == run_id
            assert [(folder / "model.json").read_text() for folder in located.folders] == ["{}"]
        assert not (tmp_path / "place").exists()

    @pytest.mark.parametrize("name", ["SqueezeNet-32 data.root=/data/a", "a@b", "models:/a"])
    def test_a_run_whose_name_looks_like_a_models(self, tracking: Tracking, tmp_path: Path, name: str) -> None:
        run_id = finished(tracking, name)
        assert locate_model(tracking, name, tmp_path).run == run_id

    def test_a_sweeps_finished_cells(self, tracking: Tracking, tmp_path: Path) -> None:
        sweep = tracking.create("pair", SWEEP)
        for name in "ab":
            finished(tracking, name, sweep, splits="s")
        tracking.create("c", CELL, sweep)
        assert len(locate_model(tracking, "pair", tmp_path).folders) == 2

    def test_a_run_that_is_kept_in_the_spool(self, tmp_path: Path) -> None:
        offline = Tracking(spool=f"{tmp_path}/spool", offline=True)
        run_id = finished(offline, "kept")
        located = locate_model(offline, "kept", tmp_path)
        assert located.run == run_id
        assert [(folder / "model.json").read_text() for folder in located.folders] == ["{}"]

    def test_a_run_whose_model_has_been_sent_from_the_spool(self, tracking: Tracking, tmp_path: Path) -> None:
        run_id = finished(tracking, "sent")
        (tmp_path / "spool" / run_id / "artifacts" / "model").mkdir(parents=True)  # its files are gone, others are not
        (folder,) = locate_model(replace(tracking, spool=f"{tmp_path}/spool"), "sent", tmp_path / "place").folders
        assert (folder / "model.json").read_text() == "{}"

    def test_cells_of_different_folds_are_no_model(self, tracking: Tracking, tmp_path: Path) -> None:
        sweep = tracking.create("pair", SWEEP)
        ids = [finished(tracking, name, sweep, splits=name) for name in "ab"]
        with pytest.raises(ValueError, match=f"not one model: give one of its 2 runs, such as a .{ids[0]}."):
            locate_model(tracking, "pair", tmp_path)

    def test_what_has_no_model_is_named(self, tracking: Tracking, tmp_path: Path) -> None:
        tracking.create("empty", SWEEP)
        with tracking.run("bare", CELL):
            pass
        with pytest.raises(ValueError, match="sweep empty .* has no finished cells"):
            locate_model(tracking, "empty", tmp_path)
        with pytest.raises(ValueError, match="run bare .*FINISHED.* has no model"):
            locate_model(tracking, "bare", tmp_path)
        with pytest.raises(ValueError, match="no registered model is bare/1"):
            locate_model(tracking, "models:/bare/1", tmp_path)
        with pytest.raises(ValueError, match="no run has the id or name 'bear'.*did you mean bare"):
            locate_model(tracking, "bear", tmp_path)


def test_the_example_is_an_image() -> None:
    row = make_example(100, "cc").iloc[0]
    assert Image.open(io.BytesIO(base64.b64decode(row["image"]))).size == (100, 100)
    assert (row["case"], row["view"]) == ("example", "cc")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a registered model, whose encoder's weights were a pickle and are gone."""
    workspace = tmp_path_factory.mktemp("registered")
    encoder = Torchvision(label="S", architecture="squeezenet1_1", weights="random", head=["classifier."])
    torch.save(replace(encoder, seed=3).load().module.state_dict(), workspace / "squeezenet.pth")
    given = [*QUICK, f"encoder.weights={workspace / 'squeezenet.pth'}", "name=one"]
    for module, options in (("run", given), ("register", ["model=one", "name=demo", "alias=champion"])):
        process = run(module, *options, workspace=workspace)
        assert process.returncode == 0, process.stderr
    (workspace / "squeezenet.pth").unlink()
    return workspace


@pytest.fixture(scope="module")
def predicted(workspace: Path) -> pd.DataFrame:
    """What the command line says of the images, by the registered model."""
    options = ["model=demo@champion", f"input={workspace / 'demo'}", f"output={workspace / 'out.csv'}"]
    process = run("predict", *options, workspace=workspace)
    assert process.returncode == 0, process.stderr
    return pd.read_csv(workspace / "out.csv")


def question(workspace: Path, cases: "pd.Series[str]") -> list[dict[str, str]]:
    images = [(workspace / "demo" / case).read_bytes() for case in cases]
    return [
        {"image": base64.b64encode(image).decode(), "case": case} for image, case in zip(images, cases, strict=True)
    ]


def check_same(answer: pd.DataFrame, predicted: pd.DataFrame) -> None:
    assert answer["case"].tolist() == predicted["case"].tolist()
    assert answer["label"].tolist() == predicted["label"].tolist()
    figures = [name for name in predicted if name.startswith("p_")] + ["agreement", "spread", "distance"]
    np.testing.assert_allclose(answer[figures].astype(float), predicted[figures], rtol=0, atol=1e-6)


def artefact(workspace: Path) -> Path:
    """The folder of the registered model."""
    (file,) = (workspace / "artifacts" / "models").rglob("MLmodel")
    return file.parent


@pytest.mark.slow
class TestRegistered:
    def test_is_linked_to_its_run(self, workspace: Path) -> None:
        keep = tracking_of(workspace)
        version = version_of(keep, "demo@champion")
        assert version.run_id == keep.find("one").id
        assert version.tags["made_by"].startswith("one (")
        assert keep.find("one").status == "FINISHED"

    def test_holds_no_pickle(self, workspace: Path) -> None:
        files = [file for file in artefact(workspace).rglob("*") if file.is_file()]
        assert any(file.parts[-3] == "weights" for file in files)
        assert not [file for file in files if pickled(file)]

    def test_says_what_it_takes_and_needs(self, workspace: Path) -> None:
        requirements = (artefact(workspace) / "requirements.txt").read_text().split()
        assert all("==" in line for line in requirements)
        assert {line.partition("==")[0] for line in requirements} >= {"torch", "torchvision", "numpy", "mlflow"}
        example = json.loads((artefact(workspace) / "input_example.json").read_text())
        assert example["columns"] == ["image", "case", "view"]

    def test_without_its_weights_its_run_cannot_predict(self, workspace: Path, tmp_path: Path) -> None:
        options = [f"input={workspace / 'demo'}", f"output={tmp_path / 'out.csv'}"]
        process = run("predict", "model=one", *options, workspace=workspace)
        assert process.returncode == 1
        assert "weights of SqueezeNet with which model one was fitted are gone" in process.stderr

    def test_loads_without_the_checkout(self, workspace: Path, predicted: pd.DataFrame, tmp_path: Path) -> None:
        (tmp_path / "question.json").write_text(json.dumps(question(workspace, predicted["case"])))
        code = (
            "import json, sys, mlflow, pandas as pd; model = mlflow.pyfunc.load_model(sys.argv[1]);"
            "answer = model.predict(pd.DataFrame(json.load(open('question.json')))); answer.to_json('answer.json');"
            "import src; print(src.__file__)"
        )
        process = subprocess.run(
            [sys.executable, "-I", "-c", code, str(artefact(workspace))],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        assert process.stdout.strip() == str(artefact(workspace) / "code" / "src" / "__init__.py")
        check_same(pd.read_json(tmp_path / "answer.json", dtype={"case": str}), predicted)

    def test_is_served_as_on_the_command_line(self, served: str, workspace: Path, predicted: pd.DataFrame) -> None:
        asked = {"dataframe_records": question(workspace, predicted["case"])}
        answer = requests.post(f"{served}/invocations", json=asked, timeout=60)
        check_same(pd.DataFrame(answer.json()["predictions"]), predicted)

    @pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
    def test_is_asked_as_documented_with_an_image_of_megabytes(self, served: str, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "IMAGE.png")
        assert (tmp_path / "IMAGE.png").stat().st_size > 2e6
        documented = re.search(r"\(echo.*?-d @-", (CONF / "serve.yaml").read_text(), re.DOTALL)
        assert documented is not None
        typed = documented.group().replace("http://127.0.0.1:5001", served)
        asked = subprocess.run(["sh", "-c", typed], cwd=tmp_path, capture_output=True, text=True, check=True)
        (row,) = json.loads(asked.stdout)["predictions"]
        assert row["outcome"] == "predicted"

    def test_serves_an_image_that_is_none(self, served: str, workspace: Path, predicted: pd.DataFrame) -> None:
        good = question(workspace, predicted["case"][:1])[0]["image"]
        asked = {"dataframe_records": [{"image": "what?"}, {"image": good}]}
        bad, fine = requests.post(f"{served}/invocations", json=asked, timeout=60).json()["predictions"]
        assert (bad["case"], bad["outcome"], bad["p_Benign"]) == ("0", "left out", None)
        assert "not an image" in bad["reason"]
        assert fine["p_Benign"] == pytest.approx(predicted.loc[0, "p_Benign"], abs=1e-6)

    def test_rows_without_a_case_are_cases_of_their_own(
        self, served: str, workspace: Path, predicted: pd.DataFrame
    ) -> None:
        good = question(workspace, predicted["case"][:1])[0]["image"]
        rows = [{"case": "1", "image": good}, {"image": good}, {"image": None}]
        answer = requests.post(f"{served}/invocations", json={"dataframe_records": rows}, timeout=60)
        found = pd.DataFrame(answer.json()["predictions"])
        assert found["case"].tolist() == ["1", "2", "3"]
        assert found["outcome"].tolist() == ["predicted", "predicted", "left out"]

    def test_answers_many_at_once(self, served: str, workspace: Path, predicted: pd.DataFrame) -> None:
        asked = {"dataframe_records": question(workspace, predicted["case"])}
        with ThreadPoolExecutor(4) as pool:
            answers = list(
                pool.map(lambda _: requests.post(f"{served}/invocations", json=asked, timeout=60).json(), range(4))
            )
        for answer in answers:
            check_same(pd.DataFrame(answer["predictions"]), predicted)

    def test_refuses_what_is_no_question(self, served: str) -> None:
        answer = requests.post(f"{served}/invocations", json={"dataframe_records": [{"picture": ""}]}, timeout=60)
        assert answer.status_code == 400
        assert "Model is missing inputs ['image']" in answer.json()["message"]

    def test_a_port_in_use_is_named(self, served: str, workspace: Path) -> None:
        port = served.rpartition(":")[2]
        process = run("serve", "model=demo", f"port={port}", workspace=workspace)
        assert process.returncode == 1
        assert process.stderr.strip().endswith(
            f"port {port} of 127.0.0.1 is in use: give another, port={int(port) + 1}"
        )

    def test_a_model_that_is_not_there_is_named(self, workspace: Path) -> None:
        process = run("serve", "model=dem", workspace=workspace)
        assert process.returncode == 1
        assert "no registered model is dem; did you mean demo?" in process.stderr


@pytest.fixture(scope="module")
def served(workspace: Path) -> Iterator[str]:
    """The address of a server of the registered model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "src.serve", "model=demo@champion", f"port={port}", f"workspace={workspace}"]
    with (workspace / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            if requests.get(f"{address}/ping", timeout=1).ok:
                break
        except requests.RequestException:
            time.sleep(0.2)
        assert process.poll() is None, (workspace / "log").read_text()
    yield address
    os.killpg(process.pid, 15)
    process.wait(timeout=30)


def pickled(file: Path) -> bool:
    """Whether a file is a pickle, or an archive with one."""
    content = file.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(content)):
        return True
    try:
        return any(operation.name == "STOP" for operation, _, _ in pickletools.genops(content)) and len(content) > 1
    except Exception:
        return file.suffix in {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin"}
