"""Answer images over HTTP by a registered model. `python -m src.serve --help`."""

import os
import sys
from pathlib import Path

from omegaconf import DictConfig

from src.cli.command import command
from src.cli.terminal import say
from src.config import Serve, build


def main(config: DictConfig) -> None:
    """Check model and port, and let MLflow's server take this process's place."""
    options: Serve = build(config)
    from src.tracking.model_registry import resolve_version
    from src.tracking.server import in_use

    model = resolve_version(options.tracking, options.model)
    if in_use(options.host, options.port):
        raise ValueError(f"port {options.port} of {options.host} is in use: give another, port={options.port + 1}")
    say(f"serving {model} at http://{options.host}:{options.port}/invocations; Ctrl-C ends it")
    # MLflow starts its server by its name, which is beside this Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    where = ["--host", options.host, "--port", str(options.port), "--workers", str(options.workers)]
    arguments = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{model}", "--env-manager", "local"]
    os.execve(
        sys.executable,
        [*arguments, *where],
        os.environ | {"MLFLOW_TRACKING_URI": options.tracking.address, "PATH": path},
    )


if __name__ == "__main__":
    command(main, "serve")
