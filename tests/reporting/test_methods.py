"""The methods as a text: what it says is what the runs recorded."""

from pathlib import Path

import pytest

from src.reporting.gathering import ReportMaterial, gather_report
from src.reporting.methods import REFERENCES, changed_params, method_section
from src.reporting.sections import Text
from src.tracking import FINISHED, Tracking
from tests.support.commands import QUICK, run

ENCODER = ["encoder=efficientnet_lite0", "encoder.weights=imagenet"]
CHOICES = ["data.cases=24", "inner_folds=2", "threshold=sensitivity:0.5", "recalibration=temperature"]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> ReportMaterial:
    """A real run of the demo, with parameters that are not the defaults."""
    folder = tmp_path_factory.mktemp("methods")
    process = run("run", *QUICK, *ENCODER, *CHOICES, "seeds=[0,1]", "classifier.c=0.5", "name=one", workspace=folder)
    assert process.returncode == 0, process.stderr
    tracking = Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifacts=f"{folder}/artifacts")
    found = tracking.find("one")
    assert found.status == FINISHED
    return gather_report(tracking, None, [found], replicates=20)


@pytest.fixture(scope="module")
def text(material: ReportMaterial) -> str:
    blocks = method_section(material).blocks
    return "\n".join(line for block in blocks if isinstance(block, Text) for line in block.lines)


@pytest.mark.slow
def test_data_protocol_learning_and_software_are_told(material: ReportMaterial, text: str) -> None:
    (cell,) = material.done
    cases = material.splits[0].judged["case"].nunique()
    for said in (
        f"Data: {cases} images from ",
        "-fold cross-validation stratified by class, with all cases of a patient in one fold (seed 0)",
        "Weights: Lite0 (imagenet weights), ",
        f"SHA-256 {cell.tags['weights'][:16]}",
        "means over 2 models of different seeds",
        f"Tenfold (commit {cell.tags['git_commit'][:12]}), python {cell.tags['python']}",
        f"torch {cell.tags['version.torch']}",
        "Seeds of models: 0, 1.",
    ):
        assert said in text, said


@pytest.mark.slow
def test_what_was_chosen_is_told_with_what_it_was_chosen_on(text: str) -> None:
    assert (
        "predicted out of fold, by 2 inner folds of its patients. On these predictions a threshold was chosen by "
        "sensitivity:0.5 (Lei 2018) and probabilities were recalibrated by temperature (Guo 2017), and applied"
    ) in text
    assert "inner_folds =" not in text


@pytest.mark.slow
def test_parameters_are_told_that_are_not_the_defaults(material: ReportMaterial, text: str) -> None:
    (cell,) = material.done
    changed = changed_params(cell.params)
    assert "classifier.c = 0.5" in changed
    assert "classifier.c = 0.5" in text
    assert not [each for each in changed if each.startswith(("workspace", "tracking", "store", "data.root", "binary"))]
    assert not [each for each in changed if each.startswith(("classifier.iterations", "encoder.mean", "encoder.file"))]


def test_the_defaults_are_none_of_them() -> None:
    assert changed_params({"protocol": "kfold", "protocol.seed": "0", "classifier": "lightgbm"}) == []
    assert changed_params({"protocol": "kfold", "protocol.seed": "3"}) == ["protocol.seed = 3"]


@pytest.mark.slow
def test_who_is_cited_is_named(text: str) -> None:
    for name, reference in REFERENCES.items():
        assert (name in text) == (reference in text), name


def test_an_own_option_has_no_known_defaults(tmp_path: Path) -> None:
    assert changed_params({"protocol": "mine", "protocol.seed": "3"}) == ["protocol.seed = 3"]
