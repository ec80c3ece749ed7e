"""Removal of passwords from URLs, which are neither shown nor stored."""

from __future__ import annotations

import re
from urllib.parse import unquote

#: Text in place of a password.
HIDDEN = "***"

#: Up to the last @ before the path, because user names and unencoded passwords may contain @.
AUTHORITY = re.compile(r"([A-Za-z][\w+.-]*:/{1,2})([^\s/?#]*)(?=@)")
QUERY = re.compile(r"(?i)([?&][^=&\s]*(?:passw|pwd|secret|token)[^=&\s]*=)([^&\s]+)")


def redact(text: str) -> str:
    """Return a URL, or a text that contains URLs, without their passwords."""
    return QUERY.sub(rf"\1{HIDDEN}", AUTHORITY.sub(_hide, text))


def redact_text(text: str, url: str) -> str:
    """Return a message about a URL without its passwords, encoded or not."""
    found = [found[2].partition(":")[2] for found in AUTHORITY.finditer(url)]
    found += [found[2] for found in QUERY.finditer(url)]
    forms = {form for secret in found for form in (secret, unquote(secret)) if form}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return redact(text)


def _hide(found: re.Match[str]) -> str:
    user, colon, password = found[2].partition(":")
    return f"{found[1]}{user}:{HIDDEN}" if colon and password else found[0]
