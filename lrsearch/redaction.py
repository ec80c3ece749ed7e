"""Removal of passwords from URLs, which are neither shown nor stored."""

from __future__ import annotations

import re
from urllib.parse import unquote

#: Text in place of a password.
HIDDEN = "***"

#: Up to the last @ before the path, because user names and unencoded passwords may contain @.
AUTHORITY = re.compile(r"([A-Za-z][\w+.-]*:/{1,2})([^\s/?#]*)(?=@)")
QUERY = re.compile(r"(?i)([?&][^=&\s]*(?:passw|pwd|secret|token)[^=&\s]*=)([^&\s]+)")
#: The begin of a text that is one URL of a database, perhaps as the value of an option, and its
#: user and password. SQLAlchemy lets the password contain every character but @, unencoded.
WHOLE = re.compile(r"(?:--?[\w-]+=)?(?!https?:)[A-Za-z][\w+.-]*:/{1,2}")
LOGIN = re.compile(rf"({WHOLE.pattern})([^:/]*:[^@]*(?:@[^@/?#\s]*(?=@))*)(?=@)")
#: A query of such a URL may contain blanks.
WHOLE_QUERY = re.compile(QUERY.pattern.replace(r"[^&\s]+", "[^&]+"))


def redact(text: str) -> str:
    """Return a URL, or a text that contains URLs, without their passwords."""
    if WHOLE.match(text):
        login = LOGIN.match(text)
        shown = text if login is None else _hide(login) + text[login.end() :]
        return WHOLE_QUERY.sub(rf"\1{HIDDEN}", shown)
    return QUERY.sub(rf"\1{HIDDEN}", AUTHORITY.sub(_hide, text))


def redact_text(text: str, url: str) -> str:
    """Return a message about a URL without its passwords, encoded or not."""
    whole, login = WHOLE.match(url), LOGIN.match(url)
    authorities = [login] if login else AUTHORITY.finditer(url)
    found = [found[2].partition(":")[2] for found in authorities]
    found += [found[2] for found in (WHOLE_QUERY if whole else QUERY).finditer(url)]
    forms = {form for secret in found for form in (secret, unquote(secret)) if form}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return redact(text)


def _hide(found: re.Match[str]) -> str:
    user, colon, password = found[2].partition(":")
    return f"{found[1]}{user}:{HIDDEN}" if colon and password else found[0]
