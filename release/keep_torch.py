"""Print constraints that keep the build of torch which is installed in the Python that runs this.

Builds of torch (for CPUs, for a release of CUDA) differ in the packages that come with them, whose versions they fix
exactly. So torch, and what the installed torch fixes, takes the place of what the given constraints say of it. Where
torch is not installed, the constraints stay as they are.

Run by `make` as `python release/keep_torch.py constraints.txt`; uses the standard library only.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

_NAME = re.compile(r"[\w.-]+")
_FIXED = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*\(?===?\s*(?P<version>[\w.+!-]+)")


def main(path: Path) -> None:
    """Print the constraints of a file, changed so that the installed torch stays."""
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = installed_torch()
    print("\n".join([*without(lines, names=set(kept)), *(f"{name}=={version}" for name, version in kept.items())]))
    torch = kept.get("torch", "")
    if torch and not any(line.startswith(f"torch=={torch.partition('+')[0]}") for line in lines):
        print(f"keeps torch {torch}, which is not the version in {path.name}", file=sys.stderr)


def installed_torch() -> dict[str, str]:
    """Return the installed version of torch, and of each package that it fixes; nothing without torch."""
    try:
        found = {"torch": metadata.version("torch")}
    except metadata.PackageNotFoundError:
        return {}
    for text in metadata.requires("torch") or []:
        if "extra ==" not in text and (fixed := _FIXED.match(text)):
            name = canonical(fixed["name"])
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue  # for another system; what the constraints say of it does not matter here
    return found


def without(lines: list[str], *, names: set[str]) -> list[str]:
    """Return the lines of a file of constraints, those of some packages left out."""
    return [line for line in lines if not ((named := _NAME.match(line)) and canonical(named[0]) in names)]


def canonical(name: str) -> str:
    """Return the name of a package as indexes compare it: "PyYAML" and "Py_YAML" are "pyyaml" and "py-yaml"."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
