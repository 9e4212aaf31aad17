"""MLflow's pages on a workspace's runs, by `make ui`, which says first where they will be."""

import os
import sys

from src.tracking.pages import VIEW
from src.tracking.runs import Tracking
from src.tracking.server import in_use


def main(workspace: str, port: int) -> None:
    """Let MLflow's pages on a workspace's runs take this process's place."""
    tracking = Tracking(uri=f"sqlite:///{workspace}/mlflow.db", artifacts=f"{workspace}/artifacts")
    print(f"the runs: {list_address(tracking, workspace, port)}", flush=True)
    # One worker serves a person; several that begin on a busy machine are taken for dead, and begun again for ever.
    pages = ["-m", "mlflow", "ui", "--port", str(port), "--workers", "1", "--backend-store-uri", tracking.address]
    os.execv(sys.executable, [sys.executable, *pages])


def list_address(tracking: Tracking, workspace: str, port: int) -> str:
    """Return the address of the list of a workspace's runs; `ValueError` where there are none, or no port."""
    if not tracking.there:
        raise ValueError(f"no runs are tracked in {workspace}: name another folder, make ui WORKSPACE=FOLDER")
    if in_use("127.0.0.1", port):
        raise ValueError(f"port {port} is in use: give another, make ui PORT={port + 1}")
    experiment = tracking.find_or_create(tracking.client)
    return f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except ValueError as error:
        sys.exit(f"error: {error}")
