"""Small predictions tables, and the published files."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.support.predictions import make_predictions

PUBLISHED = Path(__file__).parents[2] / "experiments" / "rakhlin2018" / "published"


@pytest.fixture(scope="session")
def published() -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / "crossvalidation.csv")


@pytest.fixture(scope="session")
def table1() -> Path:
    return PUBLISHED / "table1.csv"


@pytest.fixture
def make() -> Callable[..., pd.DataFrame]:
    return make_predictions
