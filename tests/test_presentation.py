"""Names of folders for groups."""

import re

import pytest

from src.presentation import slug


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("", ""),
        ("protocol=kfold", "protocol_kfold"),
        ("data=bach, training_patients=40", "data_bach_training_patients_40"),
    ],
)
def test_a_group_has_a_folder_of_its_name(title: str, name: str) -> None:
    assert slug(title) == name


def test_groups_that_differ_have_folders_that_differ() -> None:
    titles = [f"data.root=/data/{end}" for end in ("甲", "乙", "a_b", "a/b", "a+b", "a:b")]
    names = {slug(title) for title in titles}
    assert len(names) == len(titles)
    assert all(re.fullmatch(r"data\.root_data_[ab_]*-[0-9a-f]{6}", name) for name in names)
