"""A tracking server, before MLflow is asked to talk to it."""

import os

SECONDS = 5.0
"""How long a tracking server may take to answer before it counts as unreachable."""


def quieten() -> None:
    """Keep MLflow from reporting home, from asking a dead server for minutes, and from talking over our tables."""
    import logging

    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    logging.getLogger("alembic").setLevel(logging.ERROR)


def reach(uri: str) -> None:
    """Raise `ValueError` unless a tracking server answers."""
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=SECONDS).raise_for_status()
    except requests.RequestException as error:
        raise ValueError(
            f"the tracking server tracking.uri={uri} does not answer ({type(error).__name__}); start it with "
            "`mlflow server`, correct the address, or leave tracking.uri out to track in a local database"
        ) from None
