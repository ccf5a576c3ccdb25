"""MaskPro on a GPU: first whether its engines are right, then how fast its steps are. One command, within ten minutes.

Correctness: masks against exact probabilities (chi-square, and the deviation rate at C = 14), gradients against
float64, the same masks from the same key (other programs, other shards, drawn ahead or not, after a round trip of the
state), and frozen weights that stay as they are. Timings: ``MaskProRun.step`` as trials take it, on a 7B-shaped model
of random weights, for every engine, store and way of masking; its phases, peaks of start, steps and state, and each
step beside a dense forward of 32 x 128 tokens; and a run that goes on from a checkpoint, bit for bit.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py --device cpu --small      # every code path, in Triton's interpreter; its times say nothing

The JSON file is complete after every row, so that a machine that is taken away leaves what was measured. After
``--minutes`` (9 by default) nothing new is begun, and half a minute later whatever runs is cut off.

A GPU machine may have only Python 3.12, torch, triton and transformers, and no network. Where there is one, make a
folder that holds nmlab and what else it imports here, about 10 MB, and carry it along:

    pip wheel --no-deps -w wheels .
    pip download --only-binary=:all: --python-version 3.12 --platform manylinux2014_x86_64 --no-deps -d wheels \\
        pydantic pydantic-core annotated-types typing-inspection psutil pytest pluggy iniconfig pygments
    pip install --no-deps --no-index --python-version 3.12 --platform manylinux2014_x86_64 --only-binary=:all: \\
        --target carried wheels/*.whl

and there:

    PYTHONPATH=carried python benchmarks/gpu.py --json gpu.json

Take the version of pydantic-core that pydantic names (``pip download pydantic`` without --no-deps says which).
Exits with 0 where everything is right and every aim is met, 1 where not or where time ran out, 2 without the device.
"""

import argparse
import datetime
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import torch


def device_or_exit(name: str) -> torch.device:
    """Return the device; without a GPU, say so in one line and leave with 2."""
    if name == "cuda" and not torch.cuda.is_available():
        print("benchmarks/gpu.py: torch sees no CUDA device here; try --device cpu --small", file=sys.stderr)
        sys.exit(2)
    if name == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton
    return torch.device(name)


def hardware(device: torch.device) -> dict[str, object]:
    """Return date, device and versions."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": gpu or f"CPU with {os.cpu_count()} cores, Triton's interpreter",
        "cuda": torch.version.cuda,
        "versions": {name: version(name) for name in ("torch", "triton", "transformers")},
    }


class Record:
    """The JSON file and what is printed, both complete after every row."""

    def __init__(self, path: Path | None, *, facts: dict[str, object]) -> None:
        self._path, self._facts = path, {**facts, "correctness": [], "timings": [], "not done": []}
        self.write()

    def add(self, part: str, rows: list[dict[str, object]]) -> None:
        """Keep rows of one part, and print them."""
        for row in rows:
            self.part(part).append(row)
            self.write()
            verdict = {True: "ok", False: "MISSED", None: ""}[row["holds"]]  # type: ignore[index]
            value = "-" if row["value"] is None else f"{row['value']:.6g}"
            print(f"{row['name']:<66}  {value:>14} {row['unit']:<10} {row['aim']:<28} {verdict}", flush=True)

    def part(self, name: str) -> list[object]:
        """Return the rows of a part as they are kept."""
        rows = self._facts[name]
        assert isinstance(rows, list)
        return rows

    def write(self) -> None:
        """Write the whole record in one step."""
        if self._path is not None:
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(self._facts, indent=2) + "\n", encoding="utf-8")
            partial.replace(self._path)


def cut_off(*_: object) -> None:
    raise TimeoutError("cut off: the time is over")


def measure(record: Record, device: torch.device, *, small: bool, until: float) -> None:
    """Do all checks and timings until the time is over; what is not begun by then is noted."""
    from gpu_checks import correctness
    from gpu_timings import timings

    parts: tuple[tuple[str, Callable[[], Iterator[Callable[[], object]]]], ...] = (
        ("correctness", lambda: correctness(device, small=small)),
        ("timings", lambda: timings(device, small=small, until=until)),
    )
    for part, works in parts:
        for work in works():
            if time.monotonic() > until:
                record.part("not done").append(f"{part}: {getattr(work, 'args', work)}"[:120])
                record.write()
                continue
            rows = work()
            record.add(part, rows if isinstance(rows, list) else [rows])  # type: ignore[list-item]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes for a dry run")
    parser.add_argument("--minutes", type=float, default=9.0, help="nothing new is begun after so many")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = device_or_exit(options.device)
    record = Record(options.json, facts={**hardware(device), "small": options.small})
    signal.signal(signal.SIGALRM, cut_off)
    signal.alarm(max(1, int(60 * options.minutes + 30)))
    try:
        measure(record, device, small=options.small, until=time.monotonic() + 60 * options.minutes)
    except TimeoutError as error:
        record.part("not done").append(str(error))
        record.write()
    # Times of a dry run are no times: only what is right or wrong counts there.
    is_dry = options.small or device.type == "cpu"
    exact = [row for row in record.part("timings") if row["aim"] == "0"]  # type: ignore[index]
    judged = record.part("correctness") + (exact if is_dry else record.part("timings"))
    sys.exit(bool(record.part("not done")) or any(row["holds"] is False for row in judged))  # type: ignore[index]


if __name__ == "__main__":
    main()
