"""Studies of several machines in a PostgreSQL."""

import pytest

from tests.support.servers import free_port
from tests.support.studies import share_trials
from tests.support.team_server import POSTGRES, SECRETS, compose, let_others_in, postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.extra("psycopg"),
    pytest.mark.skipif(not POSTGRES, reason="needs PostgreSQL (apt-get install postgresql)"),
]


def test_two_processes_share_the_trials_of_a_postgresql(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("studies")
    let_others_in(folder)
    port, password = free_port(), "a password"
    settings = compose(SECRETS)["services"]["postgres"]["environment"]
    with postgres(folder / "postgres", port, password):
        user, database = settings["POSTGRES_USER"], settings["POSTGRES_DB"]
        share_trials(f"postgresql+psycopg://{user}:a%20password@127.0.0.1:{port}/{database}", folder)
