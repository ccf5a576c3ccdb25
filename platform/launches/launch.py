"""A launch: one start of a study. Its folder, its files and settings; making and finding launches."""

import hashlib
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from nmlab.platform.process.credentials import kept_uri
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.run_artifacts import ENVIRONMENT_FILE, LOG_FILE, REPORT_FOLDER, STUDY_FILE
from nmlab.trials.files.atomic_file import atomic_file
from nmlab.trials.files.checked_json import DamagedFileError, read_checked, write_checked

Record = dict[str, Any]
LAUNCH_FILE = "launch.json"
FORMAT = 1
_EXTENDED = 2
"""The format of an extended launch, whose study is in another file than earlier versions of nmlab read."""
_SETTINGS = ("tracking_uri", "address", "max_failures")
_STUDY = "study_digest"
_VERSIONS = "study_versions"
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/")


@dataclass(frozen=True)
class StudyVersion:
    """One version of a launch's study: ``study.yaml`` is the first, and each `nmlab extend` adds another.

    Attributes:
        number: 1 is the study that the launch was started with.
        file: the name of its file in the launch's folder.
        digest: of the bytes of the file; "" where the launch record is of a version that kept none.
    """

    number: int
    file: str
    digest: str


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
        kept = record.get(_VERSIONS) or [{"file": STUDY_FILE, "digest": record.get(_STUDY, "")}]
        return tuple(
            StudyVersion(number, version["file"], version["digest"]) for number, version in enumerate(kept, start=1)
        )

    def study(self, version: StudyVersion | None = None) -> Study:
        """Read the resolved study, by default its newest version.

        Raises ``ValueError`` if its file was changed since it was written.
        """
        chosen = version or self.versions()[-1]
        path = self.folder / chosen.file
        if chosen.digest and file_digest(path) != chosen.digest:
            raise DamagedFileError(
                f"study {path} is not the one that this launch was started with (its digest differs); "
                "restore it, or start a new launch with `nmlab sweep`"
            )
        return loader.load(path, from_record=True)

    def extend(self, study: Study) -> StudyVersion:
        """Keep a further version of the study, which is the launch's from now on; only its owner may call this.

        The file of the study is complete before the launch record names it, so a process that is killed on the way
        leaves the launch as it was. Raises ``OSError`` if a file cannot be written.
        """
        kept = self.versions()
        number = len(kept) + 1
        path = self.folder / _version_file(number)
        with atomic_file(path) as partial:
            partial.write_text(loader.dump(study), encoding="utf-8")
        added = StudyVersion(number, path.name, file_digest(path))
        versions = [{"file": version.file, "digest": version.digest} for version in (*kept, added)]
        self._write({**self._record(), _STUDY: added.digest, _VERSIONS: versions})
        return added

    def settings(self) -> Record:
        """Read the settings of the launch other than the study; raises ``ValueError`` that names a damaged file."""
        return {name: value for name, value in self._record().items() if name not in (_STUDY, _VERSIONS)}

    def change_settings(self, **changed: Any) -> None:
        """Write the given settings if they differ from the stored ones; only the launch's owner may call this.

        Raises ``ValueError`` that names a damaged file, and ``OSError`` if the file cannot be written.
        """
        record = self._record()
        if {**record, **changed} != record:
            self._write({**record, **changed})

    def _record(self) -> Record:
        path = self.folder / LAUNCH_FILE
        try:
            return read_checked(path, kind="launch record", format=_EXTENDED, before=_SETTINGS)
        except OSError as error:
            raise ValueError(f"launch record {str(path)!r} cannot be read: {error.strerror}") from error

    def _write(self, record: Record) -> None:
        write_checked(self.folder / LAUNCH_FILE, record, format=_EXTENDED if _VERSIONS in record else FORMAT)


def create(study: Study, *, results: Path, settings: Mapping[str, Any]) -> Launch:
    """Make the folder of a new launch; raises ``ValueError`` if it cannot be written."""
    check_is_local(results)
    name = f"{study.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    launch = Launch(_fresh(results.expanduser().resolve() / study.name / name))
    try:
        launch.folder.mkdir(parents=True)
        path = launch.folder / _version_file(1)
        path.write_text(loader.dump(study), encoding="utf-8")
        kept = {name: kept_uri(value) if name == "tracking_uri" else value for name, value in settings.items()}
        record = {**kept, _STUDY: file_digest(path)}
        write_checked(launch.folder / LAUNCH_FILE, record, format=FORMAT)
    except OSError as error:
        raise ValueError(f"results folder {str(results)!r} cannot be written: {error.strerror}") from error
    return launch


def find(name: str | None, *, results: Path) -> Launch:
    """Return a launch by its folder, its name, or its study's name (its newest); without ``name`` the newest of all.

    Raises ``ValueError`` that lists the studies with launches if there is none of that name.
    """
    check_is_local(results)
    if name is not None and (Path(name) / LAUNCH_FILE).is_file():
        return Launch(Path(name).resolve())
    launches = sorted(results.expanduser().glob(f"*/*/{LAUNCH_FILE}"), key=lambda path: path.stat().st_mtime)
    matching = [path.parent for path in launches if name in (None, path.parent.name, path.parent.parent.name)]
    if not matching:
        known = sorted({path.parent.parent.name for path in launches})
        wanted = f"no launch {name!r}" if name else "no launch"
        raise ValueError(f"{wanted} in {str(results)!r}; studies launched there: {', '.join(known) or 'none'}")
    return Launch(matching[-1].resolve())


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


def _version_file(number: int) -> str:
    stem, _, suffix = STUDY_FILE.partition(".")
    return STUDY_FILE if number == 1 else f"{stem}-{number}.{suffix}"


def file_digest(path: Path) -> str:
    """Return the digest of a file's bytes as 32 hexadecimal digits."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
