"""Every committed config composes and becomes objects; the direction is YAML to dataclass, in one step."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from src.cli.mistakes import explain_error
from src.config import CONF, Download, Experiment, Fuse, Tune, build, flatten_config, rebuild_operator, refuse_unknown
from src.methods.method import Method
from src.models.saved import describe_operator
from tests.support.configs import composed

OPTIONS = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.glob("*/*.yaml"))
GROUPS = [option for option in OPTIONS if option.parts[0] not in ("experiment", "search")]
SEARCHES = [option.name for option in OPTIONS if option.parts[0] == "search"]
EXPERIMENTS = [option.name for option in OPTIONS if option.parts[0] == "experiment"]
GIVEN = {
    "data=folder": ["data.root=images"],
    "data=csv": ["data.path=table.csv"],
    "protocol=published": ["protocol.path=folds.csv"],
    "protocol=leave_one_group_out": ["protocol.group=site"],
    "encoder=hub": ["encoder.repository=timm/resnet18.a1_in1k", "encoder.architecture=resnet18"],
    "classifier=sklearn": ["classifier.estimator=sklearn.naive_bayes.GaussianNB"],
    "classifier=tuned": ["classifier.study=NAME"],
    "encoder=transformers": [
        "+encoder.configuration.model_type=vit",
        "encoder.mean=[0.5,0.5,0.5]",
        "encoder.std=[0.5,0.5,0.5]",
        "encoder.input_size=224",
    ],
}
"""What the user has to give."""


@pytest.mark.parametrize("option", GROUPS, ids=str)
def test_every_option_becomes_an_object(option: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")  # what tracking=server takes
    choice = f"{option.parts[0]}={option.name}"
    experiment = composed(choice, *GIVEN.get(choice, []))
    assert isinstance(experiment, Experiment)
    assert isinstance(experiment.method, Method)


@pytest.mark.parametrize(
    "name", ["compare", "fuse", "plan", "predict", "register", "report", "runs", "serve", "stress", "sync", "validate"]
)
def test_every_command_composes(name: str) -> None:
    needed = {"predict": ["model=A", "input=B", "output=C"], "register": ["model=A", "name=B"], "serve": ["model=A"]}
    needed["validate"] = ["model=A", "data.path=B.csv"]
    needed["stress"] = ["model=A"]
    assert composed(*needed.get(name, []), name=name)


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_varies_what_there_is(name: str) -> None:
    from src.tuning.search_space import parse_space

    tuned = composed(f"search={name}", name="tune")
    assert isinstance(tuned, Tune)
    assert len(parse_space(tuned.search, tuned, ("classifier", "pool", "finetune")).dimensions) > 0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_becomes_an_object(name: str) -> None:
    assert isinstance(composed(f"experiment={name}", "data.root=images"), Experiment)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_opens_with_its_command(name: str) -> None:
    first, command, *_ = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()
    assert first == "# @package _global_"
    assert command.startswith(f"# python -m src.run -m experiment={name}")


@pytest.mark.parametrize("option", GROUPS, ids=str)
def test_every_option_says_what_it_is(option: Path) -> None:
    assert (CONF / option).with_suffix(".yaml").read_text().startswith("# ")


def test_the_default_encoder_is_trained_and_asks_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    experiment = composed("data=folder", "data.root=images")
    assert isinstance(experiment, Experiment)
    assert not experiment.encoder.untrained
    assert len(experiment.encoder.digest()) == 64


def test_the_other_commands_compose() -> None:
    assert isinstance(composed("published=rakhlin2018", name="fuse"), Fuse)
    assert isinstance(composed("data=bach", name="download"), Download)


@pytest.mark.parametrize("replicates", [0, 1_000_001, 10**12])
@pytest.mark.parametrize("name", ["config", "tune", "fuse", "compare", "report"])
def test_replicates_are_as_many_as_can_be_held(name: str, replicates: int) -> None:
    with pytest.raises(ValueError, match=f"`1 <= replicates <= 1000000` must hold, but got replicates={replicates}"):
        composed(f"replicates={replicates}", name=name)


def test_rakhlin2018_is_the_paper() -> None:
    experiment = composed("experiment=rakhlin2018", "encoder=keras_vgg", "crop=half650", "data.root=images")
    assert isinstance(experiment, Experiment)
    assert (experiment.augment.count, experiment.crop.count, experiment.crop.size) == (50, 20, 650)
    assert (experiment.crop.scale, experiment.pool.p, experiment.seeds) == (0.5, 3.0, [0, 1, 2, 3, 4])
    assert type(experiment.stain).__name__ == "MacenkoReleased"
    assert experiment.binary.positive == ["InSitu", "Invasive"]


def test_the_two_class_view_is_the_data_sets() -> None:
    experiment = composed("data=folder", "data.root=images", "data.positive=[bad]")
    assert isinstance(experiment, Experiment)
    assert experiment.binary.positive == ["bad"]


def test_what_follows_from_an_architecture_is_part_of_a_runs_config() -> None:
    def encoder(*overrides: str) -> dict[str, object]:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            values = flatten_config(compose("config", ["encoder=mobilenet", *overrides]))
        return {key: values[f"encoder.{key}"] for key in ("label", "tag", "mean", "input_size")}

    usual = [0.485, 0.456, 0.406]
    assert encoder() == {"label": "MobileNet", "tag": "ra_in1k", "mean": usual, "input_size": 0}
    other = encoder("encoder.architecture=tf_efficientnet_lite1")
    assert other == {"label": "tf_efficientnet_lite1", "tag": "in1k", "mean": [0.5] * 3, "input_size": 0}
    given = encoder("encoder.architecture=tf_efficientnet_lite1", f"encoder.mean={usual}", "encoder.input_size=240")
    assert given == other | {"mean": usual, "input_size": 240}


def test_values_are_flattened_and_resolved() -> None:
    config = OmegaConf.create({"a": {"b": 1, "c": "${a.b}"}, "d": [1, 2]})
    assert flatten_config(config) == {"a.b": 1, "a.c": 1, "d": [1, 2]}


def test_a_model_is_served_by_the_revision_that_made_it() -> None:
    description = {"operator": "StainJitter", "revision": 2, "count": 3, "low": 0.7, "high": 1.3}
    assert rebuild_operator(description).count == 3
    with pytest.raises(ValueError, match="made by StainJitter of revision 1, but here is revision 2"):
        rebuild_operator(description | {"revision": 1})


UNKNOWN = {
    "config": ["data.convrt=true", "stian=macenko", "encoder.scal=2", "tracking.urii=x", "finetune.phases.0.epoch=3"],
    "tune": ["trails=3", "classifier.round=3"],
    "fuse": ["binary.positiv=[a]"],
    "predict": ["tracking.urii=x"],
    **{name: ["workspce=x"] for name in ("compare", "download", "register", "report", "runs", "serve", "sync")},
}
PHASES = "finetune.phases=[{trainable: head, epochs: 2, learning_rate: 0.01}]"


@pytest.mark.parametrize("sign", ["+", "++"])
@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in UNKNOWN.items() for key in keys])
def test_a_plus_lets_no_unknown_key_in(name: str, key: str, sign: str) -> None:
    overrides = [*([PHASES] if "phases" in key else []), f"{sign}{key}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, overrides)
    with pytest.raises(ValueError, match=f"there is no {key.split('=')[0]}; the keys of .*did you mean"):
        refuse_unknown(config)


def test_a_part_of_a_config_is_not_built_with_an_unknown_key() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["+data.convrt=true"])
    with pytest.raises(ValueError, match=r"there is no convrt.*did you mean convert\?"):
        build(config.data)


def test_parameters_of_an_estimator_are_given_by_name() -> None:
    estimator = "classifier.estimator=sklearn.ensemble.ExtraTreesClassifier"
    given = composed("classifier=sklearn", estimator, "classifier.parameters.n_estimators=9")
    assert given.classifier.parameters == {"n_estimators": 9}
    forest = composed("classifier=random_forest", "classifier.parameters.max_depth=3").classifier
    assert forest.parameters == {"n_estimators": 500, "max_features": "sqrt", "min_samples_leaf": 1, "max_depth": 3}
    described = describe_operator(forest)
    assert rebuild_operator(json.loads(json.dumps(described))) == forest
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(ConfigCompositionException):
        compose("config", ["classifier=random_forest", "classifier.n_estimators=9"])


@pytest.mark.parametrize("override", ["seeds=[[0]]", "seeds=[{a: 1}]", "binary.thresholds=[0.5,[1]]"])
def test_a_list_of_single_values_holds_no_list(override: str) -> None:
    with pytest.raises(ValueError, match=f"`{override.partition('=')[0]}` is a list of single values, but .* is among"):
        composed(override)
    composed("finetune.transforms=[{HorizontalFlip: {p: 0.5}}]")


def test_a_plus_may_stand_before_a_known_key_and_adds_to_dictionaries() -> None:
    tuned = composed("++encoder.scale=3", "+search.pool.p.choices=[1,3]", name="tune")
    assert isinstance(tuned, Tune)
    assert tuned.search["pool"] == {"p": {"choices": [1, 3]}}
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(ConfigCompositionException) as raised:
        compose("tune", ["search.pool.p.choices=[1,3]"])
    assert "+search.pool=... adds one" in explain_error(raised.value)
