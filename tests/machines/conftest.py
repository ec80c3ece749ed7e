"""A PostgreSQL for each process of tests, and a database for each test."""

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
    """The URL of an empty database; the driver finds the password by itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return postgres.fresh(f"t{next(_numbers)}")
