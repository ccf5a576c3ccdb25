"""What another user of the machine gets from a running local sweep: every port and socket is tried, without the token.

Runs as root, because it becomes another user. A sweep with a replica of two pipeline stages is started; all TCP ports
and unix sockets on which its processes listen are read from the kernel; a process of another uid tries each of them
with raw bytes, a pickle that would leave a mark, HTTP, and the gRPC calls that list, run and write. The same calls with
the token show that they would work. In the end the sweep must finish as if nothing had been.

    python benchmarks/second_user.py --json second_user.json
"""

import argparse
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from plain_grpc import call

UID = 54321
STUDY = {
    "name": "watched",
    "model": {"source": "builtin:tiny"},
    "data": {name: {"source": "builtin:python-docs", "sequence_length": 32} for name in ("calibration", "evaluation")},
    "pattern": "2:4",
    "method": "maskpro",
    "fixed": {"steps": 200_000},
    "space": {"alpha": {"grid": [0.9]}},
    "baselines": ["dense"],
    "seeds": [0],
    "replica": {"count": 1, "pipeline_stages": 2},
}
_LISTS = ("NodeInfoGcsService/GetAllNodeInfo", "ActorInfoGcsService/GetAllActorInfo", "JobInfoGcsService/GetAllJobInfo")
# Service and method; an empty request is enough to learn who is let in.
CALLS = (
    *(f"ray.rpc.{name}" for name in _LISTS),
    *(f"ray.rpc.InternalKVGcsService/InternalKV{what}" for what in ("Keys", "Get", "Put")),
    "ray.rpc.NodeManagerService/GetNodeStats",
    "ray.rpc.NodeManagerService/RequestWorkerLease",
    "ray.rpc.ObjectManagerService/Push",
    "ray.rpc.ObjectManagerService/FreeObjects",
    "ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "ray.rpc.CoreWorkerService/PushTask",
    "ray.rpc.CoreWorkerService/KillActor",
)
# Reads alone are repeated with the token: the sweep is to live.
HARMLESS = (
    "ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "ray.rpc.NodeManagerService/GetNodeStats",
    "ray.rpc.CoreWorkerService/GetCoreWorkerStats",
)
PAGES = ("/", "/api/jobs/", "/api/version", "/nodes?view=summary", "/get_or_create_runtime_env", "/metrics")
SHUT = ("UNAUTHENTICATED", "UNIMPLEMENTED", "NO_GRPC")
"""Answers that mean: not let in, no such service on this port, no gRPC at all."""
Row = dict[str, Any]


class Mark:
    """A pickle that leaves a file where it is read."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self._path, "w"))


def processes_of(session: int) -> dict[int, str]:
    """Return the processes of a session and what they are called."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                command = (folder / "cmdline").read_bytes().split(b"\0")
                found[int(folder.name)] = Path(command[0].decode().split(" ")[0]).name
        except (OSError, ValueError):
            continue
    return found


def sockets_of(processes: dict[int, str]) -> dict[str, int]:
    """Return the inodes of the sockets that the processes hold, with the process."""
    held = {}
    for pid in processes:
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                target = str(link.readlink())
                if target.startswith("socket:["):
                    held[target[8:-1]] = pid
        except OSError:
            continue
    return held


def listening(processes: dict[int, str]) -> tuple[list[Row], list[Row]]:
    """Return the TCP ports and the unix sockets on which the processes listen."""
    held, ports, paths = sockets_of(processes), [], []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in held:
                address, port = fields[1].split(":")
                pid = held[fields[9]]
                ports.append({"process": processes[pid], "pid": pid, "bound": shown(address), "port": int(port, 16)})
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "00010000" and fields[6] in held:
            pid = held[fields[6]]
            paths.append({"process": processes[pid], "pid": pid, "path": fields[7] if len(fields) > 7 else ""})
    return sorted(ports, key=lambda row: row["port"]), paths


def shown(address: str) -> str:
    """Return an address of /proc/net in its usual form."""
    raw = b"".join(bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def is_loopback(address: str) -> bool:
    """Say whether an address is reached from this machine alone."""
    return address.removeprefix("::ffff:").startswith("127.") or address == "::1"


def raw(port: int, data: bytes) -> str:
    """Send bytes; return what comes back."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as line:
            line.sendall(data)
            line.settimeout(0.5)
            answer = line.recv(4096)
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return error.strerror or str(error)
    return f"{len(answer)} bytes" if answer else "closed"


def page(port: int, path: str) -> str:
    """Ask for a page, also with a body that would be read; return the status line."""
    text = f"POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
    texts = (f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n", text)
    answers = []
    for each in texts:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=3) as line:
                line.sendall(each.encode())
                line.settimeout(1.0)
                answers.append(line.recv(64).split(b"\r\n")[0].decode("latin-1"))
        except OSError as error:
            answers.append(error.strerror or str(error))
    served = [answer for answer in answers if answer.startswith("HTTP/1") and " 2" in answer[:12]]
    return served[0] if served else next((answer for answer in answers if answer.startswith("HTTP/1")), "no HTTP")


def attack(found: Row) -> list[Row]:
    """Try everything on everything, as whoever this process is."""
    with ThreadPoolExecutor(len(found["ports"])) as pool:
        rows = list(pool.map(partial(attack_port, evil=pickle.dumps(Mark(found["mark"]))), found["ports"]))
    for entry in found["sockets"]:
        answer = told(lambda path=entry["path"]: connect_unix(path))
        rows.append(row(f"{entry['process']} {entry['path'] or '(unnamed)'}", "connect", answer, open="connected"))
    for path in found["closed"]:
        answer = told(lambda path=Path(path): read(path))
        rows.append(row(path, "read", answer, open="read"))
    for path in found["kept"]:
        answer = told(lambda path=path: str(os.access(path, os.W_OK)))
        rows.append(row(path, "write", answer, open="True"))
    return rows


def attack_port(entry: Row, *, evil: bytes) -> Row:
    """Try everything on one TCP port."""
    port = entry["port"]
    tried = {"bytes": raw(port, b"\0" * 16), "pickle": raw(port, len(evil).to_bytes(8, "little") + evil)}
    tried["bare pickle"] = raw(port, evil)
    is_grpc = call(port, CALLS[0]) != "NO_GRPC"
    for method in CALLS if is_grpc else ():
        tried[method.removeprefix("ray.rpc.")] = call(port, method)
        tried[f"{method.removeprefix('ray.rpc.')} (a wrong token)"] = call(port, method, token="0" * 64)
    for path in () if is_grpc else PAGES:
        tried[path] = page(port, path)
    let_in = [name for name, answer in tried.items() if is_let_in(name, answer)]
    return {"where": f"{entry['process']} {entry['bound']}:{port}", "tried": tried, "let_in": let_in}


def read(path: Path) -> str:
    """Read a folder or a file."""
    return f"read {len(list(path.iterdir()) if path.is_dir() else path.read_bytes())}"


def row(where: str, what: str, answer: str, *, open: str) -> Row:
    """A line of the table for one attempt."""
    return {"where": where, "tried": {what: answer}, "let_in": [what] if answer.startswith(open) else []}


def is_let_in(name: str, answer: str) -> bool:
    """Say whether an answer means that somebody without the token got something."""
    if name.startswith("/"):
        return answer.startswith("HTTP/1") and answer[9:10] == "2"
    return "Service/" in name and answer not in SHUT


def connect_unix(path: str) -> str:
    """Connect with a unix socket; one of the abstract namespace begins with @."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(f"\0{path[1:]}" if path.startswith("@") else path)
    return "connected"


def told(work: Callable[[], str]) -> str:
    """Return what ``work`` does, or why it could not."""
    try:
        return work()
    except OSError as error:
        return error.strerror or str(error)


def as_another_user(found: Row) -> list[Row]:
    """Run ``attack`` in a process of another uid that inherits nothing but its modules."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    command = [sys.executable, __file__, "--attack", json.dumps(found)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])
    return rows


def become_another() -> None:
    """Give up everything that root may; what Python loads late is loaded before."""
    raw(1, b""), page(1, "/"), call(1, CALLS[0])
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)


def with_token(ports: list[Row], token: str) -> dict[str, list[str]]:
    """Return which harmless calls the token opens, by port: without any the table would prove nothing."""
    opened = {}
    for entry in ports:
        good = [method for method in HARMLESS if call(entry["port"], method, token=token) not in (*SHUT, "NO_ANSWER")]
        if good:
            opened[f"{entry['process']} {entry['port']}"] = good
    return opened


def run(seconds: float) -> Row:
    """Start the sweep, try it, and let it end."""
    with tempfile.TemporaryDirectory(prefix="second-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # what is closed must be so by nmlab's own doing
        study = {**STUDY, "budget": {"seconds": seconds}}
        (folder / "study.yaml").write_text(yaml.safe_dump(study))
        open_folder = folder / "open"
        open_folder.mkdir()
        open_folder.chmod(0o777)
        mark = open_folder / "mark"
        nmlab = Path(sys.executable).with_name("nmlab")
        arguments = [nmlab, "sweep", "study.yaml", "--json", "--no-report"]
        with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
            process = subprocess.Popen(arguments, cwd=folder, stdout=out, stderr=err, start_new_session=True)
        try:
            launch = wait_for_steps(folder, process)
            record = tried(process.pid, launch, mark=mark)
            code = process.wait(seconds + 120)
        finally:
            end_session(process.pid)
        printed = (folder / "out").read_text()
        record["sweep"] = json.loads(printed[printed.index("{\n") :]) | {"exit_code": code} if "{\n" in printed else {}
        frozen = record["sweep"].get("frozen_weights")
        lived = code == 0 and frozen == "verified" and not record["lost"]
        record |= {"lived": lived, **harm(record, mark=mark)}
        shut = not (record["let_in"] or record["exposed"] or record["executed"] or record["token_seen"])
        record["holds"] = bool(lived and record["with_token"] and shut)
        return record


def harm(record: Row, *, mark: Path) -> Row:
    """Return what let somebody in, what can be reached from other machines, and whether a pickle was read."""
    let_in = [line for line in record["rows"] if line["let_in"]]
    exposed = [entry for entry in record["ports"] if not is_loopback(entry["bound"])]
    return {"let_in": let_in, "exposed": exposed, "executed": mark.exists()}


def wait_for_steps(folder: Path, process: "subprocess.Popen[bytes]") -> Path:
    """Return the launch's folder once a trial has made steps."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        for path in folder.glob("results/*/*/journal.jsonl"):
            if '"event": "metrics"' in path.read_text():
                return path.parent
        time.sleep(0.5)
    raise RuntimeError(f"the sweep made no step: {(folder / 'err').read_text()}")


def tried(session: int, launch: Path, *, mark: Path) -> Row:
    """Find what listens and try it."""
    processes = processes_of(session)
    ports, sockets = listening(processes)
    (own,) = {Path(s["path"]).parents[3] for s in sockets if s["path"].endswith("sockets/raylet")}
    token = (own / "token").read_text()
    closed = [str(own), str(own / "token"), *(f"/proc/{pid}/environ" for pid in processes)]
    kept = [str(launch), str(launch / "journal.jsonl"), str(launch / "launch.json"), str(launch / "trials")]
    found = {"ports": ports, "sockets": sockets, "closed": closed, "kept": kept, "mark": str(mark)}
    rows = as_another_user(found)
    commands = [pid for pid in processes if token in told(Path(f"/proc/{pid}/cmdline").read_text)]
    written = [str(path) for path in launch.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    return {
        "rows": rows,
        "ports": ports,
        "with_token": with_token(ports, token),
        "token_seen": [*map(str, commands), *written],
        "lost": [line for line in (launch / "journal.jsonl").read_text().splitlines() if "run lost" in line],
    }


def end_session(session: int) -> None:
    """End the processes of the sweep that are left."""
    for pid in processes_of(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def table(record: Row) -> str:
    """Return the table of a record as text."""
    lines = []
    for line in record["rows"]:
        answers: dict[str, list[str]] = {}
        for name, answer in line["tried"].items():
            answers.setdefault(answer, []).append(name)
        said = "; ".join(f"{answer}: {len(names)} ({', '.join(names[:3])})" for answer, names in answers.items())
        lines.append(f"{'LET IN' if line['let_in'] else 'shut':7} {line['where']}\n        {said}")
    for entry, methods in record["with_token"].items():
        lines.append(f"with the token {entry} answers {', '.join(methods)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90.0, help="how long a trial learns")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        become_another()
        print(json.dumps(attack(json.loads(options.attack))))
        return
    if os.geteuid() != 0:
        sys.exit("second_user.py becomes another user, which only root may; run it as root")
    record = run(options.seconds)
    print(table(record))
    print(
        json.dumps(
            {name: record[name] for name in ("let_in", "exposed", "executed", "token_seen", "lived", "sweep", "holds")}
        )
    )
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()
