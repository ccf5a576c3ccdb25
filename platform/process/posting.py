"""Post small JSON messages to an address that is a secret, in a thread of its own that nothing waits for long.

Of the address only scheme and host are ever shown: its path or query is often the password of the service behind it.
"""

import base64
import json
import logging
import os
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

_log = logging.getLogger(__name__)
_ANSWER_SECONDS = 5.0
"""How long one attempt waits for the server."""
_DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *(60.0 for _ in range(14)))
"""Seconds between attempts: a quarter of an hour in all."""
_LAST_DELAY = 0.5
"""Seconds between attempts once this process wants to end."""
_MOST_WAITING = 16
_TRIED_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class SecretUrl:
    """An address of http or https that shows itself as scheme and host; `secret_url` makes one of text."""

    def __init__(self, parts: SplitResult) -> None:
        self._parts = parts

    def __repr__(self) -> str:
        host = self._parts.hostname or ""
        port = f":{self._parts.port}" if self._parts.port else ""
        return f"{self._parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"

    def request(self, body: bytes) -> Request:
        """Return the request that posts ``body``; a user and password of the address go into a header."""
        parts = self._parts
        headers = {"Content-Type": "application/json", "User-Agent": "nmlab"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
        return Request(urlunsplit(bare), data=body, headers=headers, method="POST")


def secret_url(text: str, *, what: str) -> SecretUrl:
    """Return the address that ``text`` is; raises ``ValueError``, which names ``what`` and shows a host at most."""
    expected = "expected an address of http:// or https://"
    try:
        parts = urlsplit(text)
        shown = f"{parts.scheme}://{parts.hostname}" if parts.scheme and parts.hostname else "what is given"
        _ = parts.port
    except ValueError:
        raise ValueError(f"{what}: {expected}; what is given is none") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{what}: {expected}; {shown} is none")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{what}: {expected} with other characters percent-encoded; {shown} has some that are not")
    return SecretUrl(parts)


class Poster:
    """Posts messages in order, each until it is delivered or a quarter of an hour is over.

    A server error, no answer, and a server that asks for patience are tried again, with growing pauses. Any other
    answer is not, nor is a redirect followed: the message would go to where nobody asked it to. The first message that
    is given up is one warning in the log; later ones are silent.

    Args:
        url: where to.
        delays: the pauses between attempts, in seconds.
        answer_seconds: how long an attempt waits for the server.
    """

    def __init__(
        self, url: SecretUrl, *, delays: tuple[float, ...] = _DELAYS, answer_seconds: float = _ANSWER_SECONDS
    ) -> None:
        self._url, self._delays, self._answer_seconds = url, delays, answer_seconds
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._changed = threading.Condition()
        self._is_closing, self._deadline = False, float("inf")
        self._thread: threading.Thread | None = None
        self._has_warned = False

    def post(self, message: Mapping[str, object]) -> None:
        """Put a message into the queue, and return at once. Any thread."""
        body = json.dumps(message, allow_nan=False).encode()
        with self._changed:
            self._waiting.append(body)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)
                self._thread.start()

    def close(self, *, within: float) -> None:
        """Wait until all is delivered or given up, ``within`` seconds at most; what is not delivered is one warning."""
        with self._changed:
            self._is_closing, self._deadline = True, time.monotonic() + within
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(within)
            if self._thread.is_alive():
                self._warn(f"no answer within {within:g} s")

    def _run(self) -> None:
        while (body := self._next()) is not None:
            if why := self._deliver(body):
                self._warn(why)

    def _next(self) -> bytes | None:
        """Return the next message, once there is one; None when all are done and this is being closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            return self._waiting.popleft() if self._waiting else None

    def _deliver(self, body: bytes) -> str:
        """Post a message, again and again if need be; return why it was given up, "" once it is delivered."""
        for delay in (*self._delays, 0.0):
            why, is_final = self._attempt(body)
            if not why or is_final or time.monotonic() >= self._deadline:
                break
            self._pause(delay)
        return why

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; once this is being closed, half a second at most."""
        with self._changed:
            is_closing = self._changed.wait_for(lambda: self._is_closing, timeout=seconds)
        if is_closing:
            time.sleep(min(seconds, _LAST_DELAY))

    def _attempt(self, body: bytes) -> tuple[str, bool]:
        """Post a message once; return why it failed ("" if not), and whether another attempt would fail alike."""
        try:
            _OPENER.open(self._url.request(body), timeout=self._answer_seconds).close()
        except HTTPError as error:
            error.close()
            is_redirect = 300 <= error.code < 400
            final = error.code < 500 and error.code not in _TRIED_AGAIN
            return f"it answered {error.code}{', a redirect, which is not followed' if is_redirect else ''}", final
        except (OSError, HTTPException) as error:
            return _reason(error), False
        except Exception as error:  # whatever it is, a launch must not learn of it
            return type(error).__name__, True
        return "", False

    def _warn(self, why: str) -> None:
        with self._changed:
            is_first, self._has_warned = not self._has_warned, True
        if is_first:
            _log.warning("%r did not take a notification: %s", self._url, why)


class _NoRedirects(HTTPRedirectHandler):
    """Makes a redirect an error."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = build_opener(_NoRedirects)


def _reason(error: BaseException) -> str:
    """Return why there was no answer, in words that hold nothing of the address."""
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, BaseException) else error
    known: tuple[tuple[type[BaseException], str], ...] = (
        (TimeoutError, "it did not answer in time"),
        (socket.gaierror, "its host is not known"),
        (ssl.SSLError, "no secure connection"),
    )
    for kind, text in known:
        if isinstance(cause, kind):
            return text
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return type(cause).__name__
