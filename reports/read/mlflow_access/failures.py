"""Failures of MLflow as one line: the cause given by a server, a database or the network."""

import os
import re
from collections.abc import Iterator

import requests

from nmlab.reports.read.mlflow_access.addresses import dialect, shown

LONGEST = 300
_STATUS = re.compile(r"failed with error code (\d{3})")
_NOT_JSON = "not in a valid JSON format"
_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_HOW = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
_OF_STATUS = {
    403: "this account may not do that (403)",
    404: "there is no MLflow at this address (404); is a part of the path missing or extra?",
    405: "there is no MLflow at this address (405)",
    407: "the proxy asks for a password (407); see HTTPS_PROXY",
}
_STATUS_OF_CODE = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "ENDPOINT_NOT_FOUND": 404}


def reason(error: BaseException, *, uri: str) -> str:
    """Return why a call to the store at ``uri`` failed, as one line without the password of the address."""
    text = _connection(error) or _answer(error, uri=uri) or _first_line(error)
    return _without_password(text, uri)[:LONGEST]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _connection(error: BaseException) -> str:
    """Return why a request did not reach a server; empty where one has answered."""
    for each in _chain(error):
        if isinstance(each, requests.exceptions.SSLError):
            return _tls(str(each))
        if isinstance(each, requests.exceptions.ProxyError):
            return f"the proxy does not let the request through: {_innermost(each)}"
        if isinstance(each, requests.exceptions.Timeout):
            return "does not answer in time"
        if isinstance(each, requests.exceptions.ConnectionError):
            return f"does not answer: {_innermost(each)}"
    return ""


def _tls(text: str) -> str:
    if any(mark in text for mark in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER")):
        return "does not speak TLS there; expected http:// instead of https://"
    found = re.search(r"certificate verify failed: ([^(']+)", text)
    detail = found[1].strip() if found else text.partition("SSLError(")[2].strip("(')\"") or text
    return f"its TLS certificate is refused ({detail[:120]}); set MLFLOW_TRACKING_SERVER_CERT_PATH to its CA file"


def _innermost(error: BaseException) -> str:
    """Return the message of the socket from the text of an error that contains other errors."""
    text = " ".join(str(error).split())
    found = re.findall(r"(?:\[Errno -?\d+\] |getaddrinfo failed|: )([A-Z][^'\"()<>\[\]]+)", text)
    return found[-1].strip() if found else text[:LONGEST]


def _answer(error: BaseException, *, uri: str) -> str:
    """Return the meaning of a server's answer; empty where MLflow's own text is clear."""
    if dialect(uri) == "databricks" and "credential" in str(error):
        return "no credentials of Databricks; set DATABRICKS_HOST and DATABRICKS_TOKEN, or name a profile that exists"
    text = str(error)
    if _NOT_JSON in text:
        return "answers with something else than MLflow's API, such as the login page of a proxy"
    found = _STATUS.search(text)
    status = int(found[1]) if found else _STATUS_OF_CODE.get(str(getattr(error, "error_code", "")), 0)
    if status == 401:
        given = any(os.environ.get(name) for name in _CREDENTIALS) or shown(uri) != uri
        return "user name, password or token is refused (401)" if given else f"asks for a password (401); {_HOW}"
    if status:
        return _OF_STATUS.get(status, f"answers with status {status} instead of MLflow's API")
    return ""


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return f"{type(error).__name__}: {text}" if isinstance(error, KeyError) else text


def _without_password(text: str, uri: str) -> str:
    return " ".join(text.replace(uri, shown(uri)).split())
