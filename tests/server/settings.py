"""The server's compose file as compose reads it: merged, and with the environment in the place of its variables."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DOCKER = Path(__file__).resolve().parents[2] / "docker"
SECRETS = {
    "MLFLOW_ADMIN_USERNAME": "chief",
    "MLFLOW_ADMIN_PASSWORD": "correct horse battery: @/%#",
    "MLFLOW_SECRET_KEY": "signs forms",
    "POSTGRES_PASSWORD": "pass@word/with:all?of#it %20",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": "secret of the store",
}
"""What a team writes into docker/.env; passwords with all that an address could not hold."""
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<rule>[-?])(?P<text>[^}]*))?\}")


def compose(environment: Mapping[str, str], file: str = "compose.yaml") -> dict[str, Any]:
    """Return the compose file; `ValueError` names a variable that has to be set and is not."""

    def value(match: re.Match[str]) -> str:
        found = environment.get(match["name"], "")
        if not found and match["rule"] == "?":
            raise ValueError(f"required variable {match['name']} is missing a value: {match['text']}")
        return found or (match["text"] or "" if match["rule"] == "-" else "")

    def filled(node: Any) -> Any:
        if isinstance(node, str):
            return VARIABLE.sub(value, node)
        if isinstance(node, list):
            return [filled(item) for item in node]
        return {key: filled(item) for key, item in node.items()} if isinstance(node, dict) else node

    whole: dict[str, Any] = filled(yaml.safe_load((DOCKER / file).read_text()))
    return whole
