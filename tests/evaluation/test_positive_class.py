"""Which of two classes is called positive."""

import pytest

from src.evaluation.positive_class import usual_positive


@pytest.mark.parametrize(
    ("positive", "negative"),
    [
        ("cancer", "healthy"),
        ("malignant", "benign"),
        ("Abnormal", "NORMAL"),
        ("1", "0"),
        ("yes", "no"),
        ("True", "False"),
        ("case", "control"),
        ("tumor", "no_tumor"),
        ("cancerous", "non-cancerous"),
        ("affected", "unaffected"),
        ("TumourTissue", "NonTumour"),
        ("HER2+", "HER2-"),
        ("malignant tumour", "benign tumour"),
        ("tumor positive", "tumor negative"),
        ("COVID", "normal"),
        ("pneumonia", "no finding"),
        ("carcinoma", "adenoma"),
    ],
)
def test_the_usual_words_tell(positive: str, negative: str) -> None:
    assert usual_positive([positive, negative]) == positive
    assert usual_positive([negative, positive]) == positive


@pytest.mark.parametrize(
    "names",
    [["cat", "dog"], ["benign", "normal"], ["cancer", "tumour"], ["illumination", "posture"], ["grade_1", "grade_0"]],
)
def test_other_names_do_not(names: list[str]) -> None:
    assert usual_positive(names) is None


def test_more_than_two_classes_have_no_usual_one() -> None:
    assert usual_positive(["benign", "malignant", "normal"]) is None
