"""Mask passwords and tokens in text that is shown; the rest of an address stays."""

import re

MASK = "***"
# scheme://user:password@ (a password may hold / and @; a port is digits and a slash), and scheme://token@.
_PASSWORD = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@'\"]*):(?!\d+(?:/|\s|$))[^\s'\"]*@")
_TOKEN = re.compile(r"(?P<scheme>https?://)[^/\s:@'\"]+@", re.IGNORECASE)
_QUERY = re.compile(
    r"(?P<name>[?&](?:[\w-]*(?:password|passwd|pwd|token|secret|api[_-]?key|access[_-]?key|signature)|sig|key))=[^&\s'\"]+",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(?P<kind>\b(?:Bearer|Basic)) +[A-Za-z0-9+/=_.~-]{8,}")
# The path of a chat service's webhook is its password.
_WEBHOOK = re.compile(
    r"(?P<host>https?://(?:hooks\.slack\.com/|[\w.]*discord(?:app)?\.com/api/webhooks/|[\w.-]+\.webhook\.office\.com/))[^\s'\"]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """Return ``text`` with every password, token and webhook in its addresses and headers replaced by ``***``."""
    text = _PASSWORD.sub(rf"\g<before>:{MASK}@", text)
    text = _TOKEN.sub(rf"\g<scheme>{MASK}@", text)
    text = _QUERY.sub(rf"\g<name>={MASK}", text)
    text = _WEBHOOK.sub(rf"\g<host>{MASK}", text)
    return _HEADER.sub(rf"\g<kind> {MASK}", text)


def has_secret(text: str) -> bool:
    """Return whether ``masked`` would replace something."""
    return masked(text) != text
