"""Passwords and tokens are not shown; the rest of a text is."""

import pytest

from nmlab.trials.contract.secrets import has_secret, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:pw@host", "http://user:***@host"),
        ("https://user:pw@host:5000/path", "https://user:***@host:5000/path"),
        ("HTTP://User:PW@HOST", "HTTP://User:***@HOST"),
        ("https://u:p%40w%2F@host", "https://u:***@host"),
        ("http://u:p@ss@host", "http://u:***@host"),
        ("http://u:p/w:x@host/a", "http://u:***@host/a"),
        ("http://u:12345@host", "http://u:***@host"),
        ("http://:pw@host", "http://:***@host"),
        ("https://token@host/api", "https://***@host/api"),
        ("postgresql+psycopg2://u:pw@db:5432/x", "postgresql+psycopg2://u:***@db:5432/x"),
        ("mysql://u:pw@db/x?ssl_key=/a&charset=utf8", "mysql://u:***@db/x?ssl_key=/a&charset=utf8"),
        ("postgresql:///x?user=u&password=pw&host=h", "postgresql:///x?user=u&password=***&host=h"),
        ("https://h/?api_key=abc&access_token=abc#x", "https://h/?api_key=***&access_token=***"),
        ("see 'http://a:b@c' and http://d:e@f.", "see 'http://a:***@c' and http://d:***@f."),
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer ***"),
        ("Basic dXNlcjpwYXNzd29yZA==", "Basic ***"),
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/***"),
        ("https://discord.com/api/webhooks/1/xyz", "https://discord.com/api/webhooks/***"),
    ],
)
def test_secrets_are_masked(text, shown):
    assert masked(text) == shown
    assert masked(shown) == shown
    assert has_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////data/a@b/nmlab.db",
        "http://host:5000",
        "http://host:5000/mail/a@b.org",
        "http://127.0.0.1:8265/#/experiments/1/runs/0a",
        "postgresql://user@host/db",
        "databricks://profile",
        "a@b.org: 12:30@noon",
        "Basic blocks and bearer marks",
        "maskpro 2:4 alpha=0.9 seed=0: 184.9",
        "file:///a/b",
    ],
)
def test_other_text_is_left_alone(text):
    assert masked(text) == text
    assert not has_secret(text)
