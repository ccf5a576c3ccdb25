"""Check a release before it is published: build it, look into it, install it where nothing else is, and use it.

Run by `make release-check` in an environment with `build` and `twine`. Archives are built from the last commit, in a
folder of their own, so nothing else that the checkout holds gets into them; they are left in `dist/`. The source
distribution and the wheel are each installed in an empty environment outside the checkout, with the versions of
constraints.txt, and every step below runs there.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from io import BytesIO
from pathlib import Path

from contents import source_problems, wheel_problems

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
SHORT = ("--samples", "4", "--sequence-length", "32", "--batch-size", "2", "--windows", "4")
FEWER_TRIALS = ("search.samples=2", "search.confirm.seeds=1", "seeds=[0]", "baselines=[dense, magnitude]")
SMALL = tuple(part for setting in FEWER_TRIALS for part in ("--set", setting))
COMMANDS = (
    ("nmlab", "doctor"),
    ("nmlab", "studies"),
    ("nmlab", "methods"),
    ("nmlab", "plan", "quickstart", *SMALL),
    ("nmlab", "run", "magnitude", *SHORT),
    ("nmlab", "run", "maskpro", *SHORT, "--set", "steps=4"),
    ("nmlab", "sweep", "quickstart", *SMALL),
    ("nmlab", "report", "quickstart"),
    ("nmlab", "--version"),
    ("python", "-c", "import nmlab, pathlib; print(nmlab.__version__, pathlib.Path(nmlab.__file__).parents[4])"),
)
"""What is done with each installed archive, in an empty folder; the last prints the version and the environment."""


class ReleaseError(RuntimeError):
    """A release that must not be published; the text says what is wrong with which archive."""


def main() -> None:
    """Check what the last commit would release; print every step, and stop at the first problem."""
    with tempfile.TemporaryDirectory(prefix="nmlab-release-") as name:
        scratch = Path(name)
        wheel, source = build(export(scratch / "checkout"))
        run(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source))
        refuse(wheel, wheel_problems(wheel, root=ROOT))
        refuse(source, source_problems(source, root=ROOT))
        for archive in (wheel, source):
            try_out(archive, folder=scratch / "installed")
    print(f"{wheel.name} and {source.name} in {DIST} can be published")


def export(folder: Path) -> Path:
    """Write the files of the last commit into a folder."""
    if subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=True).stdout:
        print("this checkout has changes that are not committed; they are not in what is checked")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as opened:
        opened.extractall(folder, filter="tar")
    return folder


def build(checkout: Path) -> tuple[Path, Path]:
    """Build a source distribution, and a wheel from it, into an empty `dist/`; return wheel and source distribution."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", str(DIST), str(checkout))
    (wheel,), (source,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, source


def refuse(archive: Path, problems: list[str]) -> None:
    """Raise ``ReleaseError`` if there are problems."""
    if problems:
        raise ReleaseError("\n".join(f"{archive.name} {problem}" for problem in problems))


def try_out(archive: Path, *, folder: Path) -> None:
    """Install an archive in an empty environment, use it from an empty folder, and delete both."""
    environment, empty = folder / "environment", folder / "empty"
    empty.mkdir(parents=True)
    install(archive, environment)
    printed = [run_in(environment, empty, *command).strip() for command in COMMANDS]
    if printed[-1] != f"{version()} {environment}":
        raise ReleaseError(f"{archive.name} was not what ran: {printed[-1]}, expected {version()} in {environment}")
    shutil.rmtree(folder)


def install(archive: Path, environment: Path) -> None:
    """Install an archive and what it needs, in the versions of constraints.txt, in a new environment."""
    run(sys.executable, "-m", "venv", str(environment))
    pip = (str(environment / "bin" / "python"), "-m", "pip")
    run(*pip, "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), str(archive))
    run(*pip, "check")


def version() -> str:
    """Return the version in pyproject.toml, the only place that has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def run(*command: str) -> None:
    """Run a command outside the checkout; raise ``ReleaseError`` if it fails."""
    print("+", *command, flush=True)
    if subprocess.run(command, cwd=tempfile.gettempdir(), check=False).returncode:
        raise ReleaseError(f"failed: {' '.join(command)}")


def run_in(environment: Path, folder: Path, *command: str) -> str:
    """Run a command of an installed environment in a folder, without settings of this one; return what it prints."""
    print("+", *command, flush=True)
    apart = ("PYTHON", "NMLAB", "MLFLOW")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(apart)}
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**inherited, "PATH": path}, capture_output=True, text=True, check=False
    )
    print(done.stdout[-2000:], done.stderr[-2000:] if done.returncode else "", sep="", flush=True)
    if done.returncode:
        raise ReleaseError(f"exit code {done.returncode}: {' '.join(command)}")
    return done.stdout


if __name__ == "__main__":
    try:
        main()
    except ReleaseError as error:
        sys.exit(str(error))
