"""The database of the tests of many machines, for a golden study that lived in one."""

from tests.machines.conftest import database, postgres

__all__ = ["database", "postgres"]
