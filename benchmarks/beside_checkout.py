r"""Runs one of these scripts in this checkout and in another, in turn, and compares the figures that both write.

Each checkout runs its own copy of the script on its own code, in a process of its own. Pairs of runs follow each other,
so that a slow minute of the machine affects both; the median of the ratios counts.

    git worktree add /tmp/before 32ecf56
    python benchmarks/beside_checkout.py /tmp/before step_overhead --field 'rows.*.step_s' -- --millions 5 --no-textbook
    python benchmarks/beside_checkout.py /tmp/before trial_overhead --field 'shared_seconds_per_trial.*' -- --trainers 1
    python benchmarks/beside_checkout.py /tmp/before platform_cost --field cores_a_replica.nmlab \
        --rate mlflow.values_a_second -- --seconds 20
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
PACKAGES = ("platform", "trials", "search_spaces", "reports")


def figures(record: Any, path: list[str]) -> list[float]:
    """Return the numbers at a path of names, where ``*`` stands for every member."""
    if not path:
        return [float(record)]
    name, *rest = path
    if name != "*":
        return figures(record[int(name) if isinstance(record, list) else name], rest)
    members = record if isinstance(record, list) else list(record.values())
    return [number for member in members for number in figures(member, rest)]


def run(checkout: Path, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Run the script of a checkout on its own code; return the median of each field.

    Its exit code, which is about its own claim, is ignored.
    """
    record = folder / "record.json"
    script = checkout / "benchmarks" / f"{options.script}.py"
    subprocess.run(
        [sys.executable, script, *options.arguments, "--json", record],
        env={**os.environ, "PYTHONPATH": f"{_import_folder(checkout, folder)}{os.pathsep}{script.parent}"},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    found = json.loads(record.read_text())
    return {field: statistics.median(figures(found, field.split("."))) for field in options.fields}


def _import_folder(checkout: Path, folder: Path) -> Path:
    """Return where a checkout's own nmlab is imported from; one from before ``src/nmlab`` is linked together here."""
    if (checkout / "src" / "nmlab").is_dir():
        return checkout / "src"
    links = folder / "links" / "nmlab"
    links.mkdir(parents=True)
    (links / "__init__.py").touch()  # otherwise the installed package, which has one, would come first
    for package in PACKAGES:
        (links / package).symlink_to(checkout / package)
    return links.parent


def compared(pairs: list[tuple[dict[str, float], dict[str, float]]], field: str, *, is_rate: bool) -> dict[str, Any]:
    """Return a field of all rounds and the ratios of what one of its things takes, here over there."""
    here, there = ([side[field] for side in sides] for sides in zip(*pairs, strict=True))
    ratios = [(after / before) ** (-1 if is_rate else 1) for after, before in zip(here, there, strict=True)]
    return {
        "here": [round(value, 5) for value in here],
        "there": [round(value, 5) for value in there],
        "ratios": [round(ratio, 4) for ratio in ratios],
        "median_ratio": round(statistics.median(ratios), 4),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="a checkout to compare with")
    parser.add_argument("script", help="the name of a script in benchmarks/ that takes --json")
    parser.add_argument("--field", action="append", default=[], help="where a figure stands, such as rows.*.step_s")
    parser.add_argument("--rate", action="append", default=[], help="as --field, of what is better when it is more")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=float, default=1.03, help="the largest median ratio, here over there")
    parser.add_argument("--json", type=Path)
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:end])
    options.arguments = sys.argv[end + 1 :]  # of the script
    options.fields = [*options.field, *options.rate]
    if not options.fields:
        parser.error("nothing to compare: give --field or --rate")
    return options


def main() -> None:
    options = arguments()
    pairs = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            order = [("here", HERE), ("there", options.other.resolve())][:: 1 if number % 2 else -1]
            found = {}
            for side, checkout in order:
                (Path(name) / side).mkdir()
                found[side] = run(checkout, options, Path(name) / side)
        pairs.append((found["here"], found["there"]))
        shown = (f"{field} {found['here'][field]:.4g}, there {found['there'][field]:.4g}" for field in options.fields)
        print(f"round {number}: here {'; '.join(shown)}", flush=True)
    fields = {field: compared(pairs, field, is_rate=field in options.rate) for field in options.fields}
    record = {
        "script": options.script,
        "arguments": options.arguments,
        "fields": fields,
        "holds": all(field["median_ratio"] <= options.most for field in fields.values()),
    }
    print(json.dumps(record, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()
