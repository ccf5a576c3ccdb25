"""Check the nodes of a joined cluster: same nmlab as here, readable files, enough memory.

A small task checks every node before anything is started. The task is sent as code, not by name, so that it runs on a
node without nmlab. A node that joins later is checked by its replica (`cluster/proof.py`).
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict, TypeVar, cast

from nmlab.platform.cluster.proof import PACKAGES, Inspection, difference, process_inspector
from nmlab.platform.planning.admission import Load, why_worker_does_not_fit
from nmlab.platform.planning.checks import check_slots
from nmlab.platform.planning.machine import free_bytes
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.models import locate

T = TypeVar("T")


RayNode = TypedDict(  # noqa: UP013 - in a class, Ray's names would read as names of nmlab
    "RayNode", {"NodeID": str, "NodeManagerAddress": str, "Alive": bool, "Resources": Mapping[str, float]}
)
"""A node as ``ray.nodes`` shows it."""


_NODE_ANSWER_SECONDS = 60.0
"""How long a node may take to answer: Ray starts a process there first, which a busy node takes half a minute for."""


def check_nodes(study: Study, *, results: Path, all_of_them: bool = True) -> str:
    """Raise ``ValueError``, with node, found and expected, unless every node with a CPU or GPU has what it needs.

    Without ``all_of_them`` one node is enough; the problem of another is returned as a note ("" if there is none), and
    replicas do not start on that node. Must be called on a cluster that this process has joined.
    """
    inspect_process = process_inspector()
    with _mark_in(results) as mark:
        wanted = [*_files(study), str(mark)]
        expected, answers = inspect_process(PACKAGES, wanted), _ask_all(inspect_process, PACKAGES, wanted)
    problems = [(node, problem) for node, found in answers.items() if (problem := _problem(found, expected, mark))]
    if not problems:
        return ""
    node, problem = problems[0]
    more = f" ({len(problems)} of {len(answers)} nodes have a problem)" if len(problems) > 1 else ""
    if all_of_them or len(problems) == len(answers):
        raise ValueError(f"node {node}: {problem}{more}")
    return f"node {node} is not used: {problem}{more}"


def check_room(study: Study, load: Load) -> None:
    """Raise ``ValueError`` if no node of a cluster without GPUs has the memory for one replica.

    A GPU is checked by the replica that gets it. Raises ``ValueError`` also as ``check_slots`` does. Must be called
    after ``check_nodes``.
    """
    import ray

    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    check_slots(study, has_gpus=has_gpus)
    if has_gpus:
        return
    free = {node: found for node, found in _ask_all(free_bytes, "cpu").items() if isinstance(found, int)}
    node, most = max(free.items(), key=lambda item: item[1])
    if refusal := why_worker_does_not_fit(
        load, slots=study.replica.slots, stages=study.replica.pipeline_stages, device="cpu", room=most
    ):
        raise ValueError(f"no node has room for a replica; on {node}, which has most, {refusal}")


def _ask_all(function: Callable[..., T], *arguments: object) -> dict[str, T | Exception]:
    """Run a function on every working node; return its result, or the error, by address. Nodes that left have none.

    Raises ``ValueError`` if there is no working node.
    """
    import ray
    from ray.exceptions import TaskUnschedulableError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task, asked = ray.remote(num_cpus=0, max_retries=0)(function), {}
    for node in ray_nodes():
        if node["Alive"] and any(node["Resources"].get(kind, 0) > 0 for kind in ("CPU", "GPU")):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = node["NodeManagerAddress"]
            key = name if name not in asked else f"{name} ({node['NodeID'][:8]})"
            asked[key] = task.options(scheduling_strategy=there).remote(*arguments)
    answers: dict[str, T | Exception] = {}
    for name, reference in asked.items():
        try:
            answers[name] = ray.get(reference, timeout=_NODE_ANSWER_SECONDS)
        except TaskUnschedulableError:
            continue
        except Exception as error:  # reported as that node's problem
            answers[name] = error
    if not answers:
        raise ValueError("the cluster has no node with a CPU or a GPU that answers")
    return answers


def ray_nodes() -> list[RayNode]:
    """Return the nodes of the cluster that this process is connected to, dead ones too."""
    import ray

    return cast(list[RayNode], ray.nodes())


def _problem(found: Inspection | Exception, expected: Inspection, mark: Path) -> str:
    if isinstance(found, Exception):
        return f"does not answer: {type(found).__name__}: {str(found).strip().splitlines()[0]}"
    if problem := difference(found, expected):
        return problem
    for name in found["missing"]:
        if name == str(mark):
            return f"cannot read the results folder {str(mark.parent)!r}; expected a folder that all nodes share"
        return f"cannot read {name!r}; put it where all nodes can read it under the same path"
    return ""


def _files(study: Study) -> Iterator[str]:
    """Yield the local files that every node reads: the model's configuration, and texts."""
    source = study.model.source
    if not source.startswith("builtin:"):
        yield str(locate(study.model) / "config.json")
    data = study.data
    chosen_on = () if data.validation is None else (data.validation,)
    for section in (*data.calibration.parts, *chosen_on, data.evaluation, *data.neutral_texts):
        path = Path(section.source.partition("[")[0]).expanduser()
        if path.exists():
            yield str(path.absolute())


@contextmanager
def _mark_in(results: Path) -> Iterator[Path]:
    """Create an empty file in the results folder, or in its nearest existing parent, that nodes must find."""
    folder = results.expanduser().resolve()
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    mark = existing / f".nmlab-{uuid.uuid4().hex}"
    try:
        mark.touch()
    except OSError as error:
        raise ValueError(f"results folder {str(results)!r} cannot be written: {error.strerror}") from error
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)
