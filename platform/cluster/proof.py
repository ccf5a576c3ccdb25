"""Prove, before a replica gets trials, that it sees this launch's folder and runs the same code as the driver.

The driver writes a file with a random number into the launch's folder. Before it loads the model, a replica reads it
and sends the number back with the digest of its code and the versions of the packages that it computes with.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict, cast

from nmlab.platform.records.payloads import Proof

COMPARED = ("nmlab", "code", "torch", "transformers", "python")
ROOT = "nmlab"
PACKAGES = (ROOT, f"{ROOT}.platform", f"{ROOT}.trials", f"{ROOT}.search_spaces", f"{ROOT}.reports")
"""What is compared: the files of the first package alone, and everything below the others, which are linked into it."""
_PREFIX = ".nonce-"


class Inspection(TypedDict):
    """The code and versions of a process ("" for what is not installed), and the files that it cannot read."""

    code: str
    python: str
    nmlab: str
    torch: str
    transformers: str
    missing: list[str]


def process_inspector() -> Callable[[Sequence[str], Sequence[str]], Inspection]:
    """Return a function that reports the code and versions of a process, and which of some files it cannot read.

    It is a nested function, which Ray sends as code, so that it runs on a node without nmlab.
    """

    # In quotes: the annotation itself would be sent too, as a name that a node without nmlab cannot import.
    def inspect_process(packages: Sequence[str], files: Sequence[str]) -> "Inspection":
        import hashlib
        import os
        import sys
        from importlib import metadata, util
        from pathlib import Path

        def version(name: str) -> str:
            found = next(iter(metadata.distributions(name=name)), None)
            return found.version.partition("+")[0] if found else ""

        def code() -> str:
            digest = hashlib.blake2b(digest_size=4)
            for package in packages:
                try:
                    spec = util.find_spec(package)
                except ModuleNotFoundError:
                    return ""
                if spec is None or not spec.submodule_search_locations:
                    return ""
                folder = Path(next(iter(spec.submodule_search_locations)))
                for path in sorted(folder.glob("**/*.py" if "." in package else "*.py")):
                    digest.update(str(path.relative_to(folder)).encode() + b"|" + path.read_bytes())
            return digest.hexdigest()

        return {
            "code": code(),
            "python": ".".join(map(str, sys.version_info[:2])),
            "nmlab": version("nmlab"),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "missing": [name for name in files if not os.access(name, os.R_OK)],
        }

    return inspect_process


def difference(found: Mapping[str, object], expected: Mapping[str, object]) -> str:
    """Return how the code or versions of a process differ from the expected ones; "" if they do not."""
    if not found.get("code"):
        return f"nmlab is not installed; expected nmlab {expected['nmlab']} (code {expected['code']})"
    for name in COMPARED:
        if found[name] != expected[name]:
            what = "nmlab's code" if name == "code" else name
            return (
                f"{what} {found[name] or 'is not installed'}, expected {expected[name]}; install the same version there"
            )
    return ""


@contextmanager
def expected_proof(folder: Path) -> Iterator[tuple[Path, Proof]]:
    """Write a nonce into a launch's folder; yield its path and the proof that every replica must return.

    The file has a new name each time, so that no file-system cache returns the nonce of an earlier process.
    """
    for left in folder.glob(f"{_PREFIX}*"):  # of processes that were killed
        left.unlink(missing_ok=True)
    path = folder / f"{_PREFIX}{secrets.token_hex(8)}"
    path.write_text(secrets.token_hex(16), encoding="ascii")
    try:
        yield path, prove(path)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def prove(nonce: Path) -> Proof:
    """Return the proof of this process: the nonce as it reads it ("" if it cannot), its code and versions."""
    try:
        text = nonce.read_text(encoding="ascii")
    except (OSError, ValueError):
        text = ""
    return cast(Proof, {"nonce": text, "folder": str(nonce.parent), **process_inspector()(PACKAGES, ())})


def why_refused(proofs: Sequence[Proof], expected: Proof | None, *, node_id: str = "") -> dict[str, str]:
    """Return why nodes are refused, by node id; empty if every proof is the expected one.

    Each proof has the ``node_id`` and the address ``node`` of its worker in addition to what ``prove`` returns. A
    replica without proofs, on the node ``node_id``, runs code that is older than proofs.
    """
    if expected is None:
        return {}
    if not proofs:
        problem = f"node {node_id or 'unknown'}: shows neither its code nor that it sees the launch's folder"
        return {node_id: f"{problem}; install the same version there"}
    problems = {proof["node_id"]: _problem(proof, expected) for proof in proofs}
    return {node: problem for node, problem in problems.items() if problem}


def _problem(proof: Proof, expected: Proof) -> str:
    problem = difference(proof, expected)
    if not problem and proof["nonce"] != expected["nonce"]:
        problem = f"cannot read the launch's folder {expected['folder']!r}; expected a folder that all nodes share"
    return f"node {proof['node']}: {problem}" if problem else ""
