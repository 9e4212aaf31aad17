"""A run by a Ray cluster is the run of this process, to the byte, even where a node of it dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.executors.ray import Ray
from src.tracking import Tracking
from tests.support.commands import QUICK, ROOT, Command, run
from tests.support.ray_cluster import Cluster, Node

pytestmark = pytest.mark.extra("ray")

CELL = [
    *QUICK,
    *("data.cases=12", "data.width=400", "data.height=300", "crop.size=140", "crop.count=40", "protocol.folds=3"),
    *("classifier=lightgbm", "classifier.min_data_in_leaf=1", "classifier.rounds=1500", "seeds=[0,1]", "name=cell"),
]
"""A cell of seconds in the extraction, and in boosting."""
TASKS = ("attempt_all", "attempt_one")
"""What Ray's workers are called while they encode, and while they fit models."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head; tests have other nodes join."""
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the cell leaves that this process ran."""
    workspace = tmp_path_factory.mktemp("local")
    process = run("run", *CELL, workspace=workspace)
    assert process.returncode == 0, process.stderr
    return left(workspace)


def on(cluster: Cluster) -> list[str]:
    return ["executor=ray", f"executor.address={cluster.address}", "executor.samples=1"]


def left(workspace: Path) -> dict[str, bytes]:
    """The predictions and models of a workspace's finished run."""
    keep = Tracking(uri=f"sqlite:///{workspace}/mlflow.db", artifacts=f"{workspace}/artifacts")
    (found,) = [each for each in keep.search() if each.status == "FINISHED"]
    names = ["predictions.parquet", *(f"model/fold{fold:02d}-seed{seed}.txt" for fold in (1, 2, 3) for seed in (0, 1))]
    return {name: keep.artifact(found, name) for name in names}


def descriptors(workspace: Path) -> int:
    """How many images have the descriptors of an encoder."""
    recipes = [file for file in workspace.glob("store/*/recipe.json") if "encoder" in json.loads(file.read_text())]
    return len([path for file in recipes for path in file.parent.glob("*.safetensors") if path.name[0] != "."])


def ended(process: Command) -> str:
    """What a command said that is to end well."""
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert "ray" not in errors.lower(), errors  # neither tracebacks, nor the cluster's own news
    assert "Model fusion" in output or "cell: " in output
    return errors


def watched(cluster: Cluster, process: Command) -> set[tuple[Node, str]]:
    """Which nodes worked at what until a command ended."""
    seen = set()
    while process.poll() is None:
        seen |= {(node, task) for node in cluster.nodes for task in TASKS if node.works_at(task)}
        time.sleep(0.1)
    return seen


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestBytes:
    def test_two_nodes(self, cluster: Cluster, local: dict[str, bytes], tmp_path: Path) -> None:
        second = cluster.join()
        process = Command("run", *CELL, *on(cluster), workspace=tmp_path)
        seen = watched(cluster, process)
        errors = ended(process)
        assert "encoding crops" in errors
        assert "learning folds" in errors
        assert seen >= {(node, task) for node in (cluster.nodes[0], second) for task in TASKS}
        told = []
        for name, executor in (("here", []), ("there", on(cluster))):
            options = ["model=cell", f"input={tmp_path / 'demo'}", f"output={tmp_path / name}", "device=cpu"]
            predicted = run("predict", *options, *executor, workspace=tmp_path)
            assert predicted.returncode == 0, predicted.stderr
            told.append((tmp_path / name).read_bytes())
        assert told[0] == told[1]
        second.kill()
        assert left(tmp_path) == local

    def test_nodes_with_a_gpu_encode_and_others_fit(
        self, cluster: Cluster, local: dict[str, bytes], tmp_path: Path
    ) -> None:
        """The GPU is said to be there, and is not: what runs beside it runs on the processor."""
        second = cluster.join("--num-gpus=1")
        process = Command("run", *CELL, *on(cluster), "method.device=auto", workspace=tmp_path)
        seen = watched(cluster, process)
        ended(process)
        second.kill()
        assert {node is second for node, task in seen if task == "attempt_all"} == {True}
        assert {node is second for node, task in seen if task == "attempt_one"} >= {False}
        assert left(tmp_path) == local

    @pytest.mark.parametrize("task", ["attempt_all", "attempt_one"])
    def test_a_node_dies_in_the_middle(
        self, cluster: Cluster, local: dict[str, bytes], tmp_path: Path, task: str
    ) -> None:
        second = cluster.join()
        process = Command("run", *CELL, *on(cluster), workspace=tmp_path)
        while not (descriptors(tmp_path) and second.works_at(task)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        second.kill()
        assert process.poll() is None
        ended(process)
        assert left(tmp_path) == local


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestErrors:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_request_to_end_closes_the_run_and_leaves_the_cluster(
        self, cluster: Cluster, tmp_path: Path, number: signal.Signals
    ) -> None:
        process = Command("run", *CELL, "crop.count=400", *on(cluster), workspace=tmp_path)
        while not cluster.nodes[0].works_at("attempt_all"):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in errors
        keep = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts")
        assert [each.status for each in keep.search()] == ["KILLED"]
        until = time.monotonic() + 60
        while cluster.nodes[0].works_at("attempt_all"):
            assert time.monotonic() < until
            time.sleep(0.5)

    def test_a_bad_image_is_told_as_locally(self, cluster: Cluster, tmp_path: Path) -> None:
        bad = [*CELL, "stain=macenko", "stain.tissue=0.999"]
        here = run("run", *bad, workspace=tmp_path)
        there = run("run", *bad, *on(cluster), workspace=tmp_path)
        told = [process.stderr[process.stderr.index("error: ") :] for process in (here, there)]
        assert told[0] == told[1]
        assert "nearly no tissue" in told[0]

    def test_what_the_cluster_cannot_do_is_told(self, cluster: Cluster, tmp_path: Path) -> None:
        script = SCRIPT.format(address=cluster.address)
        path = tmp_path / "script.py"
        path.write_text(script)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0] == "[0, 1, 4, 9]"
        assert "lost the worker of a task 2 times" in lines[1]
        assert "a task takes 99 processors and 0 GPUs, but no node of the Ray cluster has as many" in lines[2]
        assert "method.device=cuda, but the Ray cluster has no GPU" in lines[3]
        assert "of the Ray cluster: no room here" in lines[4]
        assert lines[5:] == []
        assert done.stderr == ""


SCRIPT = """
import os

from src.executors.ray import Ray


class Work:
    device = "cpu"

    def __init__(self, call, lacking=""):
        self.call, self.lacking = call, lacking

    def __call__(self, item):
        return self.call(item)

    def abroad(self):
        return self

    def check(self):
        if self.lacking:
            raise ValueError(self.lacking)


def told(call):
    try:
        print(call())
    except ValueError as error:
        print(str(error).replace(chr(10), " "))


ray = Ray(address="{address}", retries=1)
told(lambda: list(ray.map(Work(lambda n: n * n), range(4), 1)))
told(lambda: list(ray.map(Work(lambda n: os.kill(os.getpid(), 9)), [0], 1)))
told(lambda: list(ray.results(lambda work, item: item, None, [0], {{"num_cpus": 99, "num_gpus": 0}})))
told(lambda: ray.accelerators("cuda"))
told(lambda: list(ray.map(Work(print, "no room here"), [0], 1)))
"""


@pytest.mark.slow
def test_a_cluster_that_asks_for_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("HOME", str(tmp_path))
    cluster = Cluster()
    try:
        process = run("run", *QUICK, *on(cluster), workspace=tmp_path)
    finally:
        cluster.close()
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere.invalid:6379"])
def test_an_address_where_nothing_answers(address: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=f"no Ray cluster answers at executor.address={address}.*ray start --head"):
        Ray(address=address).connect()
    assert time.monotonic() - began < 30


def test_without_ray_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match="executor=ray needs Ray, which is not here: `make ray`"):
        Ray().connect()


@pytest.mark.parametrize(("name", "value"), [("samples", 0), ("cpus", -1), ("gpus", -1), ("retries", -1)])
def test_parameters_are_checked(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"executor.{name}={value}"):
        Ray(**{name: value})


def test_networks_are_not_trained_by_a_cluster(tmp_path: Path) -> None:
    process = run("run", *QUICK, "method=finetune", "executor=ray", workspace=tmp_path)
    assert process.returncode == 1
    assert "error: executor=ray is for method=frozen" in process.stderr
    assert "Traceback" not in process.stderr
