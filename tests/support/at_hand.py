"""What a command of a test has at hand as it begins: the libraries that take long to import, and an empty database."""
# ruff: noqa: E402, F401, I001

from src.tracking.server import quieten_mlflow

quieten_mlflow()  # before MLflow is imported

import alembic.command
import hydra
import lightgbm
import lightning_fabric
import matplotlib.backends.backend_agg
import matplotlib.figure
import optuna
import pandas
import scipy.stats
import skimage.color
import skops.io
import sklearn.linear_model
import timm
import torch
import torchvision.models

import src.sweeps.processes
import src.sweeps.run_cell
from src.tracking.database_client import empty_database

empty_database()
