"""A launch: one start of a study. Its folder, its files and settings; making and finding launches."""

import hashlib
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypedDict, Unpack, cast

from nmlab.platform.process.credentials import kept_uri
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.launch_names import LaunchName, meant_launch
from nmlab.trials.contract.run_artifacts import (
    ENVIRONMENT_FILE,
    LOG_FILE,
    REPORT_FOLDER,
    STUDY_FILE,
    study_file,
)
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.files.atomic_file import atomic_file
from nmlab.trials.files.checked_json import DamagedFileError, nmlab_version, read_checked, write_checked

LAUNCH_FILE = "launch.json"
FORMAT = 1
_EXTENDED = 2
"""The format of an extended launch, whose study is in another file than earlier versions of nmlab read."""
_SETTINGS = ("tracking_uri", "address", "max_failures")
_STUDY = "study_digest"
_MADE_BY = "made_by"
_VERSIONS = "study_versions"
_BESIDE_SETTINGS = (_STUDY, _MADE_BY, _VERSIONS)
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/")


class LaunchSettings(TypedDict):
    """What a launch is continued with, besides its study.

    Attributes:
        tracking_uri: the MLflow store, without a password.
        address: of the Ray cluster; None is one of its own.
        max_failures: how often a trial may lose its replica, and a replica its worker.
    """

    tracking_uri: str
    address: str | None
    max_failures: int


class ChangedSettings(TypedDict, total=False):
    """Settings that a later process of a launch may change."""

    tracking_uri: str
    address: str | None


@dataclass(frozen=True)
class StudyVersion:
    """One version of a launch's study: ``study.yaml`` is the first, and each `nmlab extend` adds another.

    Attributes:
        number: 1 is the study that the launch was started with.
        file: the name of its file in the launch's folder.
        digest: of the bytes of the file; "" where the launch record is of a version that kept none.
        made_by: the version of nmlab that wrote it; "" where it kept none.
        made: when, in UTC; "" for the first, which is as old as the launch.
    """

    number: int
    file: str
    digest: str
    made_by: str = ""
    made: str = ""

    @property
    def maker(self) -> str:
        """What wrote it, in words."""
        return f"nmlab {self.made_by or 'of an earlier version'}"

    def record(self) -> JsonObject:
        """Return it as the launch record keeps it."""
        return {name: value for name, value in vars(self).items() if name != "number"}


@dataclass(frozen=True)
class Launch:
    """The folder ``results/<study>/<launch>`` and the files in it."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def study_file(self) -> Path:
        """The newest version of the study."""
        return self.folder / self.versions()[-1].file

    @property
    def journal_file(self) -> Path:
        """All records of the launch, in order."""
        return self.folder / "journal.jsonl"

    @property
    def status_file(self) -> Path:
        return self.folder / "status.json"

    @property
    def report_folder(self) -> Path:
        return self.folder / REPORT_FOLDER

    @property
    def log_file(self) -> Path:
        return self.folder / LOG_FILE

    @property
    def environment_file(self) -> Path:
        return self.folder / ENVIRONMENT_FILE

    @property
    def optuna_journal(self) -> Path:
        return self.folder / "optuna.journal"

    @property
    def trials_folder(self) -> Path:
        return self.folder / "trials"

    @property
    def initial_masks_folder(self) -> Path:
        """The folder of the masks that trials start from, shared by every process of the launch."""
        return self.folder / "initial_masks"

    def trial_folder(self, key: str) -> Path:
        """Return the folder of the checkpoints and artifacts of the trial ``key``."""
        return self.trials_folder / key

    def tidy(self) -> None:
        """Remove files that killed processes did not finish; call it when no process of the launch is left."""
        deep = [folder.rglob("*.partial") for folder in (self.trials_folder, self.initial_masks_folder)]
        for left in chain(self.folder.glob("*.partial"), *deep):
            with suppress(OSError):  # such a file does no harm, so a launch does not fail over it
                left.unlink()

    def versions(self) -> tuple[StudyVersion, ...]:
        """Return the versions of the study, oldest first; raises ``ValueError`` that names a damaged file."""
        record = self._record()
        first = {"file": STUDY_FILE, "digest": record.get(_STUDY, ""), "made_by": record.get(_MADE_BY, "")}
        kept = record.get(_VERSIONS) or [first]
        return tuple(StudyVersion(number=number, **version) for number, version in enumerate(kept, start=1))

    def study(self, version: StudyVersion | None = None) -> Study:
        """Read the resolved study of this launch, by default its newest version.

        Raises ``ValueError`` if its file was changed since it was written or cannot be read, with what made it.
        """
        chosen = version or self.versions()[-1]
        path = self.folder / chosen.file
        if chosen.digest and file_digest(path) != chosen.digest:
            raise DamagedFileError(
                f"study {path}, made by {chosen.maker}, is not the one that this launch was started with (its "
                "digest differs); restore it, or start a new launch with `nmlab sweep`"
            )
        return loader.load(path, from_record=True)

    def extend(self, study: Study) -> StudyVersion:
        """Keep a further version of the study, which is the launch's from now on; only its owner may call this.

        The file of the study is complete before the launch record names it, so a process that is killed on the way
        leaves the launch as it was. Raises ``ValueError`` if a file cannot be written.
        """
        kept = self.versions()
        path = self.folder / study_file(len(kept) + 1)
        made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        try:
            with atomic_file(path) as partial:
                partial.write_text(_resolved(study, launch=self.name), encoding="utf-8")
            added = StudyVersion(len(kept) + 1, path.name, file_digest(path), made_by=nmlab_version(), made=made)
            self._write({**self._record(), _VERSIONS: [version.record() for version in (*kept, added)]})
        except OSError as error:
            raise ValueError(f"launch {self.folder} cannot be extended: {error.strerror}") from error
        return added

    def settings(self) -> LaunchSettings:
        """Read the settings of the launch other than the study; raises ``ValueError`` that names a damaged file."""
        found = {name: value for name, value in self._record().items() if name not in _BESIDE_SETTINGS}
        return cast(LaunchSettings, found)

    def change_settings(self, **changed: Unpack[ChangedSettings]) -> None:
        """Write the given settings if they differ from the stored ones; only the launch's owner may call this.

        Raises ``ValueError`` that names a damaged file, and ``OSError`` if the file cannot be written.
        """
        record = self._record()
        if {**record, **changed} != record:
            self._write({**record, **changed})

    def _record(self) -> JsonObject:
        path = self.folder / LAUNCH_FILE
        try:
            return read_checked(path, kind="launch record", format=_EXTENDED, before=_SETTINGS)
        except OSError as error:
            raise ValueError(f"launch record {str(path)!r} cannot be read: {error.strerror}") from error

    def _write(self, record: JsonObject) -> None:
        write_checked(self.folder / LAUNCH_FILE, record, format=_EXTENDED if _VERSIONS in record else FORMAT)


def create(
    study: Study,
    *,
    results: Path,
    settings: LaunchSettings,
    prepare: Callable[[Launch], None] = lambda launch: None,
) -> Launch:
    """Make the folder of a new launch; raises ``ValueError`` if it cannot be written.

    ``prepare`` writes what else it begins with; until that is done the folder is no launch.
    """
    check_is_local(results)
    name = f"{study.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    launch = Launch(_fresh(results.expanduser().resolve() / study.name / name))
    try:
        launch.folder.mkdir(parents=True)
        path = launch.folder / STUDY_FILE
        path.write_text(_resolved(study, launch=launch.name), encoding="utf-8")
        prepare(launch)
        kept = {name: kept_uri(str(value)) if name == "tracking_uri" else value for name, value in settings.items()}
        record = {**kept, _STUDY: file_digest(path), _MADE_BY: nmlab_version()}
        write_checked(launch.folder / LAUNCH_FILE, record, format=FORMAT)
    except OSError as error:
        raise ValueError(f"results folder {str(results)!r} cannot be written: {error.strerror}") from error
    return launch


def _resolved(study: Study, *, launch: str) -> str:
    """Return the study as its launch keeps it: its first line says which version of nmlab made it."""
    return f"# nmlab {nmlab_version()}: the study of launch {launch}, with every default\n{loader.dump(study)}"


def find(name: str | None, *, results: Path) -> Launch:
    """Return the launch that a text means (see `launch_names`), or that is in a folder; without ``name`` the newest.

    Raises ``ValueError`` that lists the studies with launches if there is none of that name.
    """
    check_is_local(results)
    if name is not None and (Path(name).expanduser() / LAUNCH_FILE).is_file():
        return Launch(Path(name).expanduser().resolve())
    known = [LaunchName(folder.parent.name, folder.name) for folder in launch_folders(results)]
    meant = meant_launch(name, known, where=repr(str(results)))
    return Launch((results.expanduser() / meant.study / meant.launch).resolve())


def launch_folders(results: Path) -> list[Path]:
    """Return the folders of the launches in a results folder, the newest last."""
    markers = sorted(results.expanduser().glob(f"*/*/{LAUNCH_FILE}"), key=lambda path: path.stat().st_mtime)
    return [marker.parent for marker in markers]


def check_is_local(path: Path | str, *, what: str = "results folder") -> None:
    """Raise ``ValueError`` if a path is a URL, such as s3://bucket/x, which would become a folder ``s3:`` here."""
    found = _URL.match(str(path))
    if found is None:
        return
    if found["scheme"].lower() == "file":
        rest = "/" + str(path)[len("file:") :].lstrip("/")
        raise ValueError(f"{what} {str(path)!r}: expected a path, not a URL; give {rest!r}")
    raise ValueError(
        f"{what} {_as_given(str(path), found)!r}: expected a path; mount what is at {found['scheme']}:// as a folder, "
        "under one path on this machine and on all nodes of a cluster, and give that"
    )


def _as_given(path: str, found: re.Match[str]) -> str:
    """Return a URL with both slashes after its scheme; ``Path`` removes one of them."""
    return f"{found['scheme']}://{path[found.end() :].lstrip('/')}"


def _fresh(folder: Path) -> Path:
    candidate, count = folder, 2
    while candidate.exists():  # two launches within one second
        candidate, count = folder.with_name(f"{folder.name}-{count}"), count + 1
    return candidate


def file_digest(path: Path) -> str:
    """Return the digest of a file's bytes as 32 hexadecimal digits."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
