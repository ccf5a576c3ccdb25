"""Claim: a report over 10,000 child runs with 1,000 steps each takes under 60 s and under 2 GiB.

A store of that size is made first (with SQL, since MLflow's client would take hours), with the schema of the
installed MLflow; then the report is written in a process of its own, whose time and peak memory are measured.
Run: python benchmarks/report_scale.py [--runs 10000] [--steps 1000] [--store FILE]
"""

import argparse
import hashlib
import json
import platform
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mlflow import MlflowClient

SECONDS, GIBIBYTES = 60.0, 2.0
SEEDS = 3
STUDY = "scale"
START = 1_790_000_000_000
METRICS = {
    "cost/seconds": 10.0, "cost/tokens": 2e6, "cost/forwards": 2000.0, "cost/trainable_params": 26624.0,
    "memory/peak_bytes": 8e8, "memory/state_bytes": 1.3e5, "memory/masked_weight_bytes": 1e5,
    "time/sample_s": 8e-4, "time/forward_s": 4e-3, "time/update_s": 4e-4, "time/step_s": 5.3e-3,
}  # fmt: skip
WRITE = """
import resource, sys, time
from pathlib import Path
start = time.perf_counter()
from nmlab.reports.report import write_report
write_report(sys.argv[1], tracking_uri=sys.argv[2], output=Path(sys.argv[3]))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--store", type=Path, help="keep the store in this file, or use it if it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or Path(folder) / "scale.db"
        made = 0.0
        if not store.is_file():
            begun = time.perf_counter()
            make_store(store, runs=options.runs, steps=options.steps)
            made = time.perf_counter() - begun
        record = measured(store, Path(folder) / "report")
    record |= {"runs": options.runs, "steps": options.steps, "store_made_s": round(made, 1)}
    record |= {"machine": platform.machine(), "python": platform.python_version(), "load": _load()}
    record["holds"] = record["seconds"] < SECONDS and record["peak_gib"] < GIBIBYTES
    print(json.dumps(record, indent=2))
    return 0 if record["holds"] else 1


def measured(store: Path, output: Path) -> dict[str, object]:
    """Write the report in a fresh process and return its wall and CPU seconds and its peak memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", WRITE, STUDY, f"sqlite:///{store.resolve()}", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, peak = map(float, done.stdout.split()[-2:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_gib": round(peak, 2),
        "report_mib": round(size / 2**20, 1),
        "store_mib": round(store.stat().st_size / 2**20),
    }


def make_store(path: Path, *, runs: int, steps: int) -> None:
    """Write one launch with so many child runs, three seeds a configuration, into a new MLflow store."""
    client = MlflowClient(tracking_uri=f"sqlite:///{path.resolve()}")
    experiment = client.create_experiment(STUDY, f"file://{path.resolve()}.artifacts")
    parent = client.create_run(experiment, start_time=START, tags=_parent_tags(runs)).info.run_id
    for name, value in {"search.metric": "eval/perplexity", "search.mode": "min", "method": "maskpro"}.items():
        client.log_param(parent, name, value)
    client.set_terminated(parent)
    rng = np.random.default_rng(0)
    curve = -0.5 * (1 - np.exp(-3 * np.arange(steps) / steps))
    with sqlite3.connect(path) as connection:
        connection.execute("pragma synchronous = off")
        connection.execute("pragma journal_mode = memory")
        template = connection.execute("select * from runs where run_uuid = ?", (parent,))
        columns = [column[0] for column in template.description]
        own = dict(zip(columns, template.fetchone(), strict=True))
        for number in range(runs):
            _insert_run(connection, own, number, parent, rng, curve)


def _insert_run(
    connection: sqlite3.Connection, own: dict, number: int, parent: str, rng: np.random.Generator, curve: np.ndarray
) -> None:
    configuration, seed = divmod(number, SEEDS)
    run_id = hashlib.md5(str(number).encode()).hexdigest()
    key = hashlib.md5(f"c{configuration}".encode()).hexdigest()[:8]
    row = {
        **own,
        "run_uuid": run_id,
        "name": f"maskpro-{key}-{seed}",
        "start_time": START + number,
        "status": "FINISHED",
    }
    connection.execute(f"insert into runs ({','.join(row)}) values ({','.join('?' * len(row))})", list(row.values()))
    draw = np.random.default_rng(configuration)
    params = {
        "method": "maskpro", "pattern": "2:4", "seed": seed, "model.source": "builtin:tiny",
        "data.evaluation.source": "builtin:python-docs", "steps": len(curve),
        "alpha": draw.choice([0.9, 0.97, 0.99]), "logit_magnitude": round(draw.uniform(3, 7), 4),
        "learning_rate": round(float(np.exp(draw.uniform(-1, 1.5))), 4),
        "initial_mask": draw.choice(["magnitude", "wanda"]), "estimator": "tracked",
    }  # fmt: skip
    tags = {
        "mlflow.parentRunId": parent, "nmlab.kind": "trial", "nmlab.trial_key": f"{key}{seed:08x}",
        "nmlab.configuration": key, "nmlab.role": "search", "nmlab.status": "finished", "nmlab.git_dirty": "false",
        "nmlab.git_commit": "0" * 40, "nmlab.model_digest": "aa", "nmlab.data_digest": "bb",
    }  # fmt: skip
    connection.executemany("insert into params (key, value, run_uuid) values (?, ?, ?)",
                           [(name, str(value), run_id) for name, value in params.items()])  # fmt: skip
    connection.executemany("insert into tags (key, value, run_uuid) values (?, ?, ?)",
                           [(name, value, run_id) for name, value in tags.items()])  # fmt: skip
    final = 80 + 40 * draw.random() + rng.normal()
    points = list(_points(final, rng, curve))
    _insert_points(connection, "metrics", run_id, points)
    latest = {name: (name, value, step) for name, value, step in points}
    _insert_points(connection, "latest_metrics", run_id, list(latest.values()))


def _points(final: float, rng: np.random.Generator, curve: np.ndarray) -> Iterator[tuple[str, float, int]]:
    last = len(curve)
    noisy = curve + 0.05 * rng.normal(size=last)
    yield from (("train/residual", float(value), step) for step, value in enumerate(noisy, start=1))
    for name in ("eval/perplexity", "eval/token_perplexity"):
        yield from ((name, float(value), step) for value, step in ((140.0, 0), (final + 20, last // 2), (final, last)))
    yield from ((name, value * (1 + 0.1 * rng.random()), last) for name, value in METRICS.items())


def _insert_points(connection: sqlite3.Connection, table: str, run_id: str, points: list) -> None:
    connection.executemany(
        f"insert into {table} (key, value, timestamp, step, run_uuid, is_nan) values (?, ?, ?, ?, ?, 0)",
        [(name, value, START, step, run_id) for name, value, step in points],
    )


def _parent_tags(runs: int) -> dict[str, str]:
    return {
        "nmlab.kind": "study", "nmlab.launch": "scale-1", "nmlab.status": "finished", "nmlab.planned": str(runs),
        "nmlab.git_dirty": "false", "nmlab.frozen_weights": "verified", "nmlab.versions": "{}", "nmlab.hardware": "{}",
    }  # fmt: skip


def _load() -> float:
    return round(float(Path("/proc/loadavg").read_text().split()[0]), 1)


if __name__ == "__main__":
    sys.exit(main())
