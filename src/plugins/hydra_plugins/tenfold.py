"""Our launchers and our sweeper where Hydra looks for them: Hydra takes them from the package hydra_plugins only."""

from hydra.core.config_store import ConfigStore

from src.sweeps.cluster_jobs import Jobs, LocalJobs, SlurmJobs
from src.sweeps.planned_sweep import PlannedSweeper
from src.sweeps.processes import Processes


class JoblibLauncher(Processes):
    """`hydra/launcher=joblib`."""


class SlurmLauncher(Jobs):
    """`hydra/launcher=submitit_slurm`."""

    cluster = "slurm"


class LocalLauncher(Jobs):
    """`hydra/launcher=submitit_local`."""

    cluster = "local"


class WhichWaySweeper(PlannedSweeper):
    """`hydra/sweeper=which_way`."""


# Not as files in conf/: Hydra would hold those against the options of hydra-submitit-launcher, if that is installed.
for launcher, options in ((SlurmLauncher, SlurmJobs), (LocalLauncher, LocalJobs)):
    node = options(_target_=f"{__name__}.{launcher.__name__}")
    ConfigStore.instance().store(group="hydra/launcher", name=f"submitit_{launcher.cluster}", node=node)
