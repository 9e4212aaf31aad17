"""The download command; the fetching itself is tested in tests/data/test_archive.py."""

from pathlib import Path

import pytest

from tests.commands import run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data=demo"], "cannot be downloaded"),
        (["data=nothing"], "Available options in 'data'"),
    ],
    ids=str,
)
def test_what_cannot_be_downloaded_is_named(tmp_path: Path, arguments: list[str], said: str) -> None:
    process = run("download", *arguments, workspace=tmp_path)
    assert process.returncode == 1
    assert said in process.stderr
    assert "Traceback" not in process.stderr
