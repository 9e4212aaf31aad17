"""Our launcher where Hydra looks for one: Hydra takes launchers from the package hydra_plugins only."""

from src.launcher import Processes


class Cells(Processes):
    """`hydra/launcher=joblib`."""
