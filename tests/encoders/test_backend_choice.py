"""encoder.backend=auto: what is fastest of all that gives the same descriptors, measured once."""

import json
from dataclasses import replace
from pathlib import Path

from src.encoders.backend_choice import WORTH, choose_backend, measure_backends, openvino_version
from src.encoders.timm import Timm

ENCODER = Timm(architecture="test_resnet", weights="random")
SIZE = 64
OPENVINO = ["openvino"] if openvino_version() else []


def test_the_fastest_is_taken_of_all_that_give_the_same() -> None:
    choice = measure_backends(replace(ENCODER, tolerance=1.0), SIZE, seconds=60)
    ways = [f"{backend} {precision}" for backend in ("torch", *OPENVINO) for precision in ("float32", "bfloat16")]
    assert sorted(choice.rates) == sorted(ways)
    best = max(choice.rates.values())
    own = choice.rates[f"{choice.backend} {choice.precision}"]
    assert own in (best, choice.rates["torch float32"])
    assert own * WORTH >= best


def test_ways_that_give_others_are_left_out() -> None:
    assert measure_backends(replace(ENCODER, tolerance=0.0), SIZE, seconds=60).rates.keys() == {"torch float32"}


def test_a_precision_that_is_given_stays() -> None:
    choice = measure_backends(replace(ENCODER, precision="float16", tolerance=1.0), SIZE, seconds=1)
    assert (choice.backend, choice.precision, list(choice.rates)) == ("torch", "float16", ["torch float16"])


def test_what_was_measured_is_kept_by_encoder_and_size(tmp_path: Path) -> None:
    kept = tmp_path / "workspace" / "backends.json"
    first = choose_backend(ENCODER, SIZE, kept)
    (key,) = json.loads(kept.read_text())
    told = {"backend": "openvino", "precision": "bfloat16", "rates": {"openvino bfloat16": 12.345}}
    kept.write_text(json.dumps({key: told}))
    again = choose_backend(replace(ENCODER, seed=1, label="other"), SIZE, kept)  # other weights are as fast
    assert str(again) == "openvino in bfloat16 (openvino bfloat16 12.3 crops/s)"
    other = choose_backend(ENCODER, 2 * SIZE, kept)
    assert other.precision == first.precision == "float32"
    assert len(json.loads(kept.read_text())) == 2
