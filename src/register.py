"""Register a run's or a sweep's model, so that MLflow serves it. `python -m src.register --help`."""

import math
import tempfile
from pathlib import Path

from omegaconf import DictConfig

from src.cli.command import command
from src.cli.terminal import say
from src.config import ROOT, Register, build, rebuild_operator
from src.system.next_commands import next_command, override
from src.system.own_code import MODULES
from src.tracking import SPOOLED


def main(config: DictConfig) -> None:
    """Pack a model with its encoders' weights, try it, and register it under an alias."""
    options: Register = build(config)
    from src.models.saved import load_all_fitted, pack_fitted, packed_cells
    from src.tracking.model_registry import locate_model, make_example, register_model, rehearse_model

    with tempfile.TemporaryDirectory(prefix="tenfold-") as folder:
        cells = Path(folder) / "cells"
        located = locate_model(options.tracking, options.model, Path(folder))
        if located.packed:
            raise ValueError(f"model={options.model} is registered already: give the run or the sweep that made it")
        if located.run.startswith(SPOOLED):
            raise ValueError(
                f"{located.title} is kept in {options.tracking.spool}, where MLflow cannot link a model to it: "
                f"`{next_command('sync')}` sends it, then register it by its name"
            )
        pack_fitted(located.folders, rebuild_operator, cells, options.weights)
        members = load_all_fitted(packed_cells(cells), rebuild_operator)
        say(f"{located.title}: packed {', '.join(member.name for member in members)}; trying it")
        side = max(math.ceil(member.cell.crop.size / member.cell.crop.scale) for member in members)
        code = [ROOT / "src", *MODULES]
        rehearsal = rehearse_model(cells, make_example(side, members[0].views[-1]), code)
        version = register_model(options.tracking, located, cells, rehearsal, code, options.name, options.alias)
    model = override("model", f"{options.name}@{options.alias}")
    say(
        f"registered as {options.name}, version {version}, alias {options.alias}\n"
        f"  {next_command('predict', model, 'input=FOLDER', 'output=FILE.csv')}\n"
        f"  {next_command('serve', model)}"
    )


if __name__ == "__main__":
    command(main, "register")
