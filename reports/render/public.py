"""Anonymises a report: removes the user, names and addresses of machines, and the paths of folders.

Files and folders keep their last name; a number is added where two have the same, so that different paths stay
different. Runs are anonymised before anything is computed from them, because figures are drawn from their settings; all
other text of the document is anonymised afterwards.
"""

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast
from urllib.parse import urlsplit

from nmlab.reports.read.collect import LaunchRecord, StudyRuns
from nmlab.trials.contract import run_tags

LOCAL = ("127.0.0.1", "0.0.0.0", "localhost", "::1")
_END = r"""\s/'",;:()\[\]{}|<>*\\"""
_STEPS = rf"(?:[^{_END}]+/+)*[^{_END}]+/?"
_SCHEME = re.compile(rf"\b(?:file|sqlite|s3|gs|hdfs|dbfs)(?:\+\w+)?:/{{2,4}}(?P<path>{_STEPS})")
_PATH = re.compile(rf"(?<![\w.:/<>~*#)-])(?:~[\w.-]*)?/(?P<path>{_STEPS})")
_WINDOWS = re.compile(r"(?<![\w])(?:[A-Za-z]:\\|\\\\)(?P<path>[^\s'\",;]+)")
_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_LOGIN = re.compile(r"\b[\w.-]+@(?:\(host\)|[\w-]+(?:\.[\w-]+)+)")
_URL = re.compile(r"\b(?P<scheme>https?)://(?P<place>[^\s/'\"<>]+)")
_COMMON_USERS = ("root", "ray", "user", "ubuntu", "admin", "nobody", "jovyan")
"""Common user names that do not identify anyone and are ordinary words."""
T = TypeVar("T")


class Anonymiser:
    """Replaces users, hosts and paths in texts; the same text is always replaced in the same way."""

    def __init__(self, *, users: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> None:
        own = {*hosts, socket.gethostname()}
        known = [(name, "(host)") for name in sorted(own) if len(name) > 2 and name not in LOCAL]
        known += [(name, "(user)") for name in sorted(set(users)) if len(name) > 2 and name not in _COMMON_USERS]
        self._known = [(re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"), shown) for name, shown in known]
        self._names: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Return ``text`` without users, hosts and folders."""
        if text.startswith(("/", "~/")) and "\n" not in text:  # a setting: all of it is a path, spaces included
            path, bracket, rest = text.partition("[")
            text = f"{self._name(path)}{bracket}{rest}" if path.strip("/~ ") else text
        for pattern in (_SCHEME, _PATH, _WINDOWS):
            text = pattern.sub(lambda found: self._name(found["path"]), text)
        text = _URL.sub(self._url, text)
        text = _LOGIN.sub("(user)@(host)", text)
        text = _ADDRESS.sub(lambda found: found[0] if found[0] in LOCAL else "(host)", text)
        for pattern, shown in self._known:
            text = pattern.sub(shown, text)
        return _LOGIN.sub("(user)@(host)", text)  # logins whose host was replaced just now

    def everywhere(self, value: T) -> T:
        """Return a value with every text in it changed: of dataclasses, tuples, lists and mappings."""
        return cast("T", _changed(value, self.text))

    def _name(self, path: str) -> str:
        whole = path.strip("/\\ ").removeprefix("~/")
        if whole not in self._names:
            last = re.split(r"[/\\]", whole)[-1]
            same = sum(
                re.fullmatch(rf"{re.escape(last)}( \(\d+\))?", name) is not None for name in self._names.values()
            )
            self._names[whole] = f"{last} ({same + 1})" if same else last
        return self._names[whole]

    def _url(self, found: re.Match[str]) -> str:
        host = urlsplit(found[0]).hostname or ""
        is_private = found["place"].rpartition("@")[2] != host or "." not in host  # has a port, or no domain
        return f"{found['scheme']}://(host)" if is_private and host not in LOCAL else found[0]


def public_runs(runs: StudyRuns, hide: Anonymiser) -> StudyRuns:
    """Return the runs with anonymised settings, notes and reasons; numbers are unchanged, and so are their types."""
    launch, *pooled = (_public_launch(each, hide) for each in (runs.launch, *runs.pooled))
    return replace(runs, launch=launch, pooled=tuple(pooled), trials=hide.everywhere(runs.trials))


def _public_launch(launch: LaunchRecord, hide: Anonymiser) -> LaunchRecord:
    return replace(launch, tags=_texts(launch.tags, hide), params=_texts(launch.params, hide))


def anonymiser_of(runs: StudyRuns) -> Anonymiser:
    """Return the anonymiser for a launch, with the user recorded for it; of pooled launches with each."""
    users = (launch.tags.get(run_tags.USER, "") for launch in runs.launches)
    return Anonymiser(users=tuple(dict.fromkeys(filter(None, users))))


def _texts(texts: Mapping[str, str], hide: Anonymiser) -> dict[str, str]:
    return {name: hide.text(text) for name, text in texts.items()}


def _changed(value: object, change: Callable[[str], str]) -> object:
    if type(value) is str:
        return change(value)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_changed(item, change) for item in value)
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, Mapping):
        return {key: _changed(item, change) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: _changed(getattr(value, item.name), change) for item in fields(value)})
    return value
