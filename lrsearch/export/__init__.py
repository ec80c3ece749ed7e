"""Carries a schedule elsewhere: one file a format, each a table look-up of the Plan."""

from lrsearch.export.table import to_csv
from lrsearch.export.words import to_json

__all__ = ["FORMATS", "to_csv", "to_json"]

#: What `lrsearch export --to` knows.
FORMATS = ("json", "csv")
