"""A Ray cluster of several raylets on this machine. Its head has two CPUs, and every other node one.

Every line read is JSON: ``{"add": {...}}`` adds a node with these arguments of Ray's, ``{"remove": ID}`` removes one.
Prints one line of JSON for the head, with the address, and one for each node, with its id and the raylet's process.
It ends with its input.
"""

import json
import sys
from typing import Any

MEMORY = 100 * 2**20


def main() -> None:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes: dict[str, Any] = {}
    print(json.dumps({"address": cluster.address}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "remove" in command:
            cluster.remove_node(nodes.pop(command["remove"]))
            cluster.wait_for_nodes()
            print("{}", flush=True)
            continue
        node = cluster.add_node(num_cpus=1, object_store_memory=MEMORY, **command["add"])
        nodes[node.node_id] = node
        raylet = node.all_processes["raylet"][0].process.pid
        print(json.dumps({"node_id": node.node_id, "raylet": raylet}), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
