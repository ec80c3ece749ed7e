"""The PostgreSQL fixtures of `tests/machines`, for the golden study in a database."""

from tests.machines.conftest import database, postgres

__all__ = ["database", "postgres"]
