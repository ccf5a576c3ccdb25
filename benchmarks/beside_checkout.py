"""One of these scripts in this checkout and in another, in turn: the ratio of a figure that both write, round by round.

Each checkout runs its own copy of the script on its own code, in a process of its own. Pairs of runs follow each other,
so that a slow minute of the machine does not fall on one of the two alone; the median of the ratios is what counts.

    git worktree add /tmp/before 32ecf56
    python benchmarks/beside_checkout.py /tmp/before step_overhead --field 'rows.*.step_s' -- --millions 5 --no-textbook
    python benchmarks/beside_checkout.py /tmp/before trial_overhead --field 'shared_seconds_per_trial.*' -- --trainers 1
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


def run(checkout: Path, options: argparse.Namespace, folder: Path) -> list[float]:
    """Run the script of a checkout on its own code; return its figures. What its exit code says is its own claim."""
    links = folder / "links" / "nmlab"
    links.mkdir(parents=True)
    for package in PACKAGES:
        (links / package).symlink_to(checkout / package)
    record = folder / "record.json"
    script = checkout / "benchmarks" / f"{options.script}.py"
    subprocess.run(
        [sys.executable, script, *options.arguments, "--json", record],
        env={**os.environ, "PYTHONPATH": f"{links.parent}{os.pathsep}{script.parent}"},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return figures(json.loads(record.read_text()), options.field.split("."))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="a checkout to compare with")
    parser.add_argument("script", help="the name of a script in benchmarks/ that takes --json")
    parser.add_argument("--field", required=True, help="where the figure stands, such as rows.*.step_s")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=float, default=1.03, help="the largest median ratio, here over there")
    parser.add_argument("--json", type=Path)
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:end])
    options.arguments = sys.argv[end + 1 :]  # of the script
    pairs = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            order = [("here", HERE), ("there", options.other.resolve())][:: 1 if number % 2 else -1]
            found = {}
            for side, checkout in order:
                (Path(name) / side).mkdir()
                found[side] = statistics.median(run(checkout, options, Path(name) / side))
        pairs.append((found["here"], found["there"]))
        print(f"round {number}: here {pairs[-1][0]:.4g}, there {pairs[-1][1]:.4g}", flush=True)
    ratios = [here / there for here, there in pairs]
    record = {
        "script": options.script,
        "arguments": options.arguments,
        "field": options.field,
        "here": [round(here, 5) for here, _ in pairs],
        "there": [round(there, 5) for _, there in pairs],
        "ratios": [round(ratio, 4) for ratio in ratios],
        "median_ratio": round(statistics.median(ratios), 4),
        "holds": statistics.median(ratios) <= options.most,
    }
    print(json.dumps(record, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()
