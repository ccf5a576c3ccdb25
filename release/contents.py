"""What the archives of a release must hold, and what they hold.

A wheel holds the files of the four packages that git knows, Markdown apart, and the licences; a source distribution the
same below `src/`, with what it takes to build a wheel. Nothing else: no tests, no leftovers of an earlier build.
"""

import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

PACKAGES = ("platform", "trials", "search_spaces", "reports")
"""The folders at the root of a checkout that become packages below `nmlab`."""
_BUILT = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt"}
_SOURCE = {"MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg", "PKG-INFO"}


def package_files(root: Path) -> set[str]:
    """Return the files of a checkout's packages, by their paths in a wheel ("nmlab/trials/contract/pattern.py")."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    paths = [Path(name) for name in listed.split("\0") if name and not name.endswith(".md")]
    found = {path.as_posix() for path in paths if path.parts[0] in PACKAGES}
    within = {path.relative_to("src").as_posix() for path in paths if path.parts[0] == "src"}
    links = {f"nmlab/{package}" for package in PACKAGES}  # in a checkout links, in archives folders
    return {f"nmlab/{name}" for name in found} | (within - links)


def licences(root: Path) -> set[str]:
    """Return the files that pyproject.toml names as licences."""
    patterns = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license-files"]
    return {path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern)}


def wheel_problems(wheel: Path, *, root: Path) -> list[str]:
    """Return what a wheel lacks of a checkout, and what it should not hold; one text each."""
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    expected = package_files(root)
    expected |= {f"{info}/{name}" for name in _BUILT} | {f"{info}/licenses/{name}" for name in licences(root)}
    with zipfile.ZipFile(wheel) as archive:
        return _differences({name for name in archive.namelist() if not name.endswith("/")}, expected)


def source_problems(archive: Path, *, root: Path) -> list[str]:
    """Return what a source distribution lacks of a checkout, and what it should not hold; one text each."""
    top = archive.name.removesuffix(".tar.gz")
    expected = {f"src/{name}" for name in package_files(root)} | licences(root) | _SOURCE
    with tarfile.open(archive) as opened:
        names = {member.name.removeprefix(f"{top}/") for member in opened.getmembers() if not member.isdir()}
    return _differences({name for name in names if ".egg-info/" not in name}, expected)


def _differences(names: set[str], expected: set[str]) -> list[str]:
    lacking = [f"lacks {name}" for name in sorted(expected - names)]
    return lacking + [f"should not hold {name}" for name in sorted(names - expected)]
