"""Tracking URIs, checked before MLflow is loaded."""

from __future__ import annotations

from lrsearch.errors import RequestError

__all__ = ["check_uri", "redact"]


def check_uri(uri: str) -> str:
    """Returns the URI of a database or server, or `none`.

    Raises:
        RequestError: it is neither. MLflow refuses to keep runs in plain files since 3.13.
    """
    if uri != "none" and (uri.startswith("file:") or "://" not in uri):
        raise RequestError(
            f"tracking URI {uri!r} is no database or server; give sqlite:///FILE.db, "
            "http://HOST:PORT or none"
        )
    return uri


def redact(uri: str) -> str:
    """The URI without the password that it may hold."""
    scheme, mark, rest = uri.partition("://")
    secret, at, host = rest.rpartition("@")
    user = secret.partition(":")[0]
    return f"{scheme}{mark}{user}:***@{host}" if at and ":" in secret else uri
