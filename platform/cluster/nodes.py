"""What the nodes of a cluster that is joined must have: nmlab as it is here, and the files that a sweep reads.

Every node is asked by a small task before anything is started. The task travels as code, not by name, so that a node
without nmlab can answer. A node that joins later is asked by its replica (`launches/proof.py`).
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nmlab.platform.cluster.proof import PACKAGES, difference, looker
from nmlab.platform.planning.admission import Load, check_slots, refuses
from nmlab.platform.planning.machine import free_bytes
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.models import ModelSource, locate

_ANSWER_S = 60.0


def check_nodes(study: Study, *, results: Path, all_of_them: bool = True) -> str:
    """Raise ``ValueError`` naming node, found and expected, unless every node that can work has what it needs.

    Where not ``all_of_them`` must, one is enough; what another lacks is returned, and replicas pass that node over.
    Must be called on a cluster that this process has joined.
    """
    look = looker()
    with _left_in(results) as mark:
        wanted = [*_files(study), str(mark)]
        expected, answers = look(PACKAGES, wanted), _ask_all(look, PACKAGES, wanted)
    problems = [(node, problem) for node, found in answers.items() if (problem := _problem(found, expected, mark))]
    if not problems:
        return ""
    node, problem = problems[0]
    more = f" ({len(problems)} of {len(answers)} nodes have something amiss)" if len(problems) > 1 else ""
    if all_of_them or len(problems) == len(answers):
        raise ValueError(f"node {node}: {problem}{more}")
    return f"node {node} is passed over: {problem}{more}"


def check_room(study: Study, load: Load) -> None:
    """Raise ``ValueError`` where no node of a cluster without GPUs has the memory for one replica.

    A GPU is looked at by the replica that is given it. Raises ``ValueError`` also as ``check_slots`` does. Must be
    called after ``check_nodes``.
    """
    import ray

    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    check_slots(study, has_gpus=has_gpus)
    if has_gpus:
        return
    free = {node: found for node, found in _ask_all(free_bytes, "cpu").items() if isinstance(found, int)}
    node, most = max(free.items(), key=lambda item: item[1])
    if refusal := refuses(load, slots=study.replica.slots, shards=study.replica.shards, device="cpu", room=most):
        raise ValueError(f"no node has room for a replica; on {node}, which has most, {refusal}")


def _ask_all(look: Any, *arguments: Any) -> dict[str, Any]:
    """Return every working node's answer, or the error in its place, by address; a node that has just gone has none.

    Raises ``ValueError`` where there is no working node.
    """
    import ray
    from ray.exceptions import TaskUnschedulableError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task, asked = ray.remote(num_cpus=0, max_retries=0)(look), {}
    for node in ray.nodes():
        if node["Alive"] and any(node["Resources"].get(kind, 0) > 0 for kind in ("CPU", "GPU")):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = node["NodeManagerAddress"]
            key = name if name not in asked else f"{name} ({node['NodeID'][:8]})"
            asked[key] = task.options(scheduling_strategy=there).remote(*arguments)
    answers: dict[str, Any] = {}
    for name, reference in asked.items():
        try:
            answers[name] = ray.get(reference, timeout=_ANSWER_S)
        except TaskUnschedulableError:
            continue
        except Exception as error:  # told as that node's problem
            answers[name] = error
    if not answers:
        raise ValueError("the cluster has no node with a CPU or a GPU that answers")
    return answers


def _problem(found: Any, expected: dict[str, Any], mark: Path) -> str:
    if isinstance(found, Exception):
        return f"does not answer: {type(found).__name__}: {str(found).strip().splitlines()[0]}"
    if problem := difference(found, expected):
        return problem
    for name in found["missing"]:
        if name == str(mark):
            return f"cannot read the results folder {str(mark.parent)!r}; expected a folder that all nodes share"
        return f"cannot read {name!r}; put it where all nodes can read it under that name"
    return ""


def _files(study: Study) -> Iterator[str]:
    """The local files that every node reads: the model's configuration, and texts."""
    source = study.model.source
    if not source.startswith("builtin:"):
        yield str(locate(ModelSource(**study.model.model_dump())) / "config.json")
    for text in (study.data.calibration.source, study.data.evaluation.source):
        path = Path(text.partition("[")[0]).expanduser()
        if path.exists():
            yield str(path.absolute())


@contextmanager
def _left_in(results: Path) -> Iterator[Path]:
    """Leave an empty file in the results folder, or in what of it exists, for nodes to find."""
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
