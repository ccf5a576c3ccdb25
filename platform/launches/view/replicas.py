"""The replicas of a launch in a few lines: those alike together, and why one was refused."""

from collections import Counter

from nmlab.platform.launches.snapshot import ReplicaSnapshot, Snapshot
from nmlab.platform.launches.view.texts import counted
from nmlab.trials.contract.run_status import AT_WORK


def replica_lines(snapshot: Snapshot) -> list[str]:
    """Return what the copies of the model are, and how often the model was loaded."""
    replicas = snapshot["replicas"].values()
    loads = "once" if snapshot["model_loads"] == 1 else f"{snapshot['model_loads']} times"
    if not replicas:
        is_loading = snapshot["phase"] in AT_WORK
        return [
            "no replica yet: Ray starts, or the model is loading" if is_loading else f"the model was loaded {loads}"
        ]
    kinds = Counter(_kind(replica) for replica in replicas if "device" in replica)
    texts = [f"{counted(count, 'replica')} {kind}{' each' if count > 1 else ''}" for kind, count in kinds.items()]
    refused = Counter(replica["reason"] for replica in replicas if "device" not in replica)
    return [
        *([f"{'; '.join(texts)}; the model was loaded {loads}"] if texts else []),
        *(f"{counted(count, 'replica')} refused: {reason}" for reason, count in refused.items()),
    ]


def _kind(replica: ReplicaSnapshot) -> str:
    stages = f" and {len(replica['shards'])} pipeline stages" if len(replica["shards"]) > 1 else ""
    return f"{replica['state']} on {replica['device']}, {counted(replica['slots'], 'slot')}{stages}"
