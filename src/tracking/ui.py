"""Where MLflow's pages on a workspace's runs will be: `make ui` asks before it starts them."""

import sys

from src.tracking.pages import VIEW
from src.tracking.runs import Tracking
from src.tracking.server import in_use


def address(workspace: str, port: int) -> str:
    """Return the address of the list of a workspace's runs; `ValueError` where there are none, or no port."""
    tracking = Tracking(uri=f"sqlite:///{workspace}/mlflow.db", artifacts=f"{workspace}/artifacts")
    if not tracking.there:
        raise ValueError(f"no runs are tracked in {workspace}: name another folder, make ui WORKSPACE=FOLDER")
    if in_use("127.0.0.1", port):
        raise ValueError(f"port {port} is in use: give another, make ui PORT={port + 1}")
    experiment = tracking.find_or_create(tracking.client)
    return f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


if __name__ == "__main__":
    try:
        print(f"the runs: {address(sys.argv[1], int(sys.argv[2]))}", flush=True)
    except ValueError as error:
        sys.exit(f"error: {error}")
