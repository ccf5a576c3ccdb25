"""How near `nmlab plan` comes: predicted against measured bytes and seconds, for several methods and two models.

Writes random Llama-shaped models, plans a study on each, takes a few real steps of every method (what `--probe` does),
and sets side by side: bytes of the method's state between steps (a plan is exact to within what it calls uncertain),
the peak of resident memory beyond the model, and seconds of a step, of the start and of an evaluation.

    python benchmarks/plan_accuracy.py --millions 5 25 --json plan_accuracy.json
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from random_llama import random_llama

from nmlab.platform.planning.estimate import Estimate, probe_methods
from nmlab.platform.planning.study_plan import LaunchPlan, plan_study
from nmlab.search_spaces import loader

METHODS = {
    "magnitude": {},
    "wanda": {},
    "sparsegpt_mask": {},
    "gblm": {},
    "maskpro": {"logit_magnitude": 10.0},
    "maskpro, frequent": {"method": "maskpro", "logit_magnitude": 3.0},
    "maskpro, bfloat16": {"method": "maskpro", "logits": "bfloat16_delta"},
    "maskpro, multiplied": {"method": "maskpro", "masked_weights": "multiplied"},
    "susi": {},
    "soft_topn": {},
    "simple": {},
    "maskllm": {},
    "proxsparse": {},
}


def plan_of(folder: str, name: str, *, batch: int, length: int) -> LaunchPlan:
    """Plan one method on one model; it is the only trial, so that the forecast is its own, on half of the cores."""
    settings = dict(METHODS[name])
    method = settings.pop("method", name)
    text = f"{{source: 'builtin:python-docs', sequence_length: {length}, batch_size: {batch}"
    overrides = [
        f"model.source={folder}",
        f"data={{calibration: {text}, samples: {4 * batch}}}, evaluation: {text}, windows: {4 * batch}}}}}",
        f"method={method}",
        f"fixed={json.dumps(settings)}",
        "space={}",
        "baselines=[]",
        "seeds=[0]",
        "search={algorithm: grid}",
        "replica={count: 1, slots: 2}",
    ]
    return plan_study(loader.load("maskpro-alpha", overrides=overrides))


def rows(folder: str, millions: int, *, batch: int, length: int, methods: list[str]) -> Iterator[dict[str, Any]]:
    for name in methods:
        plan = plan_of(folder, name, batch=batch, length=length)
        ((_, predicted),) = Estimate.here(plan).forecasts
        (measured,) = probe_methods(plan).values()
        yield {
            "millions": millions,
            "method": name,
            "state_bytes": [predicted.state_bytes, measured.state_bytes],
            "uncertain_bytes": predicted.uncertain_bytes,
            "peak_bytes": [predicted.slot_bytes, measured.peak_bytes],
            "step_seconds": [predicted.step_seconds, measured.step_seconds],
            "start_seconds": [predicted.start_seconds, measured.start_seconds],
            "evaluation_seconds": [predicted.evaluation_seconds, measured.evaluation_seconds],
        }


def ratio(pair: list[float]) -> str:
    predicted, measured = pair
    return f"{predicted / measured:.2f}" if measured and predicted else "-"


def show(row: dict[str, Any]) -> str:
    columns = [f"{row['millions']:>4} M", f"{row['method']:20}"]
    for name in ("state_bytes", "peak_bytes", "step_seconds", "start_seconds", "evaluation_seconds"):
        scale, unit = (1e6, "MB") if name.endswith("bytes") else (1e-3, "ms")
        columns.append(f"{row[name][0] / scale:9.1f}/{row[name][1] / scale:9.1f} {unit} {ratio(row[name]):>5}")
    return "  ".join(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, nargs="+", default=[5, 25])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    print("predicted/measured and their ratio: state, peak, a step, the start, an evaluation", flush=True)
    for millions in options.millions:
        with tempfile.TemporaryDirectory() as folder:
            frozen = random_llama(millions)
            frozen.module.save_pretrained(folder)
            frozen.tokenizer.save_pretrained(folder)
            del frozen
            size = {"batch": options.batch, "length": options.length}
            for row in rows(folder, millions, methods=options.methods, **size):
                found.append(row)
                print(show(row), flush=True)
    record = {"rows": found, "torch": torch.__version__, "load": os.getloadavg(), **vars(options)}
    if options.json:
        options.json.write_text(json.dumps(record, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
