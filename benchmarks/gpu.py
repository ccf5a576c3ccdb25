"""The engines on a GPU: first whether they are right, then how fast they are. One command, under eight minutes.

Correctness: masks against exact probabilities (chi-square, and the deviation rate at C = 14), gradients against
float64, the same masks from the same key (other programs, other shards, drawn ahead or not, after a round trip of the
state), and frozen weights that stay as they are. Timings, with CUDA events, on the logits of a 7B-shaped model of
random weights: the fused pass of engine `triton` against a copy of as many bytes, sampling alone, a step of engine
`event`, and whole steps against the dense forward of 32 x 128 tokens.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py --device cpu --small      # every code path, in Triton's interpreter; its times say nothing

Exits with 0 where everything is right and every aim is met, 1 where not, and 2 without the device.
"""

import argparse
import datetime
import json
import os
import sys
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


def show(rows: list[dict[str, object]]) -> None:
    """Print one line for each row: what, value, aim, verdict."""
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        verdict = {True: "ok", False: "MISSED", None: ""}[row["holds"]]  # type: ignore[index]
        print(f"{row['name']:<{width}}  {row['value']:>14.6g} {row['unit']:<10} {row['aim']:<28} {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes for a dry run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = device_or_exit(options.device)
    from gpu_checks import correctness
    from gpu_timings import timings

    rows = correctness(device, small=options.small)
    show(rows)
    measured = timings(device, small=options.small)
    show(measured)
    record = {**hardware(device), "small": options.small, "correctness": rows, "timings": measured}
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    # Times of a dry run are no times: only what is right or wrong counts there.
    judged = rows if options.small or device.type == "cpu" else rows + measured
    sys.exit(any(row["holds"] is False for row in judged))


if __name__ == "__main__":
    main()
