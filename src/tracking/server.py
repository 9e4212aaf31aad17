"""A tracking server, before MLflow is asked to talk to it."""

import errno
import logging
import os
import socket

from src.system.next_commands import next_command

SECONDS = 10
"""How long a tracking server may take to answer before it counts as unreachable."""
BOUNDS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "300",
}
"""How long MLflow asks a server that does not answer: what it does not take is spooled, and sent later."""


class Unreachable(ValueError):  # noqa: N818
    """The tracking server does not answer, or not as it should."""


def quieten_mlflow() -> None:
    """Keep MLflow from reporting home, from asking a dead server for minutes, and from talking over our tables.

    Its pages, where this process becomes them, do without the ten processes that wait for jobs of language models.
    """
    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **{name: os.environ.get(name, value) for name, value in BOUNDS.items()},
    }
    logging.getLogger("alembic").setLevel(logging.ERROR)


def in_use(host: str, port: int) -> bool:
    """Return whether somebody listens there already; `ValueError` for a host that is not this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise ValueError(f"nothing can listen at {host}:{port}: {error.strerror or error}") from None
    return False


def reach_server(uri: str) -> None:
    """Raise `Unreachable`, with what to do, unless a tracking server answers and knows us."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking._tracking_service.utils import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    quietly = {"max_retries": 0, "timeout": SECONDS, "raise_on_status": False}
    path = "/api/2.0/mlflow/experiments/search"
    try:
        answer = http_request(get_default_host_creds(uri), path, "GET", params={"max_results": 1}, **quietly)
    except MlflowException as error:
        late = f" within {SECONDS} seconds" if "timeout" in str(error) else ""
        raise Unreachable(
            f"the tracking server tracking.uri={uri} does not answer{late}; start it with `mlflow server`, correct the "
            "address, or leave tracking.uri out to track in a local database; tracking.offline=true keeps all that a "
            f"run logs until `{next_command('sync')}` sends it"
        ) from None
    if answer.status_code in (401, 403):
        raise Unreachable(
            f"the tracking server tracking.uri={uri} refuses these credentials ({answer.status_code} {answer.reason}); "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment to those of a user that it "
            "knows"
        )
    if not answer.ok:
        raise Unreachable(
            f"the tracking server tracking.uri={uri} answers with an error ({answer.status_code} {answer.reason}): its "
            f"log says why; tracking.offline=true keeps all that a run logs until `{next_command('sync')}` sends it"
        )
    if "json" not in answer.headers.get("content-type", ""):
        raise Unreachable(f"what answers at tracking.uri={uri} is no MLflow server; correct the address")
