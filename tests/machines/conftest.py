"""A PostgreSQL server for each test process, and a database for each test."""

import itertools

import pytest

from tests.machines.postgres import PASSWORD, Postgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def database(postgres, tmp_path, monkeypatch):
    """Return the URL of an empty database; the driver reads the password from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return postgres.fresh(f"t{next(_numbers)}")
