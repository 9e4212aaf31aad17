"""Addresses without the users and passwords that they may hold."""

import pytest

from src.system.addresses import mask_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://user:secret@host/db", "postgresql://***@host/db"),
        ("http://user:sl/ash@host:5000", "http://***@host:5000"),
        ("http://user:at@sign@host", "http://***@host"),
        ("uri: http://user@host\nname: a@b\n", "uri: http://***@host\nname: a@b\n"),
        ("sqlite:///mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"),
        ("store: s3://bucket/prefix@1", "store: s3://bucket/prefix@1"),
        ("http://127.0.0.1:5000 a@b", "http://127.0.0.1:5000 a@b"),
    ],
)
def test_users_and_passwords_are_not_shown(text: str, shown: str) -> None:
    assert mask_passwords(text) == shown
