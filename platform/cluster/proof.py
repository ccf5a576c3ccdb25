"""What a replica shows before it is given work: that it sees this launch's folder, and runs the code of its driver.

The driver leaves a file with a random number in the launch's folder. A replica reads it, before it loads the model, and
sends the number back with the digest of its code and the versions of what it computes with.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Record = dict[str, Any]
COMPARED = ("nmlab", "code", "torch", "transformers", "python")
PACKAGES = ("platform", "trials", "search_spaces", "reports")
_PREFIX = ".nonce-"


def looker() -> Callable[[Sequence[str], Sequence[str]], Record]:
    """Return the function that says what a process runs and which of some files it cannot read.

    It is a function within a function, which travels as code: a node without nmlab can answer it too.
    """

    def look(packages: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
        import hashlib
        import os
        import sys
        from importlib import metadata, util
        from pathlib import Path

        def version(name: str) -> str:
            try:
                return metadata.version(name).partition("+")[0]
            except metadata.PackageNotFoundError:
                return ""

        def code() -> str:
            digest = hashlib.blake2b(digest_size=4)
            for package in packages:
                try:
                    spec = util.find_spec(f"nmlab.{package}")
                except ModuleNotFoundError:
                    return ""
                if spec is None or not spec.submodule_search_locations:
                    return ""
                folder = Path(next(iter(spec.submodule_search_locations)))
                for path in sorted(folder.rglob("*.py")):
                    digest.update(str(path.relative_to(folder)).encode() + b"|" + path.read_bytes())
            return digest.hexdigest()

        return {
            "code": code(),
            "python": ".".join(map(str, sys.version_info[:2])),
            **{name: version(name) for name in ("nmlab", "torch", "transformers")},
            "missing": [name for name in files if not os.access(name, os.R_OK)],
        }

    return look


def difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return in what a process runs something else than is expected, or nothing."""
    if not found.get("code"):
        return f"nmlab is not there; expected nmlab {expected['nmlab']} (code {expected['code']})"
    for name in COMPARED:
        if found[name] != expected[name]:
            what = "nmlab's code" if name == "code" else name
            return f"{what} {found[name] or 'is not there'}, expected {expected[name]}; install there what runs here"
    return ""


@contextmanager
def expected_proof(folder: Path) -> Iterator[tuple[Path, Record]]:
    """Leave a nonce in a launch's folder; give its path and the proof that is expected of every replica.

    The name is another one each time, so that no cache of a file system answers for an earlier process.
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


def prove(nonce: Path) -> Record:
    """Return what this process can show: the nonce as it reads it (empty where it cannot), its code and versions."""
    try:
        text = nonce.read_text(encoding="ascii")
    except (OSError, ValueError):
        text = ""
    return {"nonce": text, "folder": str(nonce.parent), **looker()(PACKAGES, ())}


def why_refused(
    proofs: Sequence[Mapping[str, Any]], expected: Mapping[str, Any], *, node_id: str = ""
) -> dict[str, str]:
    """Return why nodes are refused, by the id of the node; empty where every proof is the expected one.

    Each proof has the ``node_id`` and the address ``node`` of its worker beside what ``prove`` returns. A replica that
    shows nothing, on the node ``node_id``, runs code from before there were proofs.
    """
    if not expected:
        return {}
    if not proofs:
        told = f"node {node_id or 'unknown'}: shows neither its code nor that it sees the launch's folder"
        return {node_id: f"{told}; install there what runs here"}
    problems = {proof["node_id"]: _problem(proof, expected) for proof in proofs}
    return {node: problem for node, problem in problems.items() if problem}


def _problem(proof: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    problem = difference(proof, expected)
    if not problem and proof["nonce"] != expected["nonce"]:
        problem = f"cannot read the launch's folder {expected['folder']!r}; expected a folder that all nodes share"
    return f"node {proof['node']}: {problem}" if problem else ""
