"""A Ray cluster of several raylets on this machine. Its head has two CPUs, and every other node one.

Every line read is JSON: ``{"add": {...}}`` adds a node with these arguments of Ray's, ``{"remove": ID}`` removes one,
``{"kill": ID}`` kills one, and ``{"alive": null}`` asks which are in the cluster, those included that others started.
Prints one line of JSON for the head, with the address, one for each node added, with its id and the raylet's process,
and one for the nodes that are alive: their resources by id. It ends with its input.
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
    _answer({"address": cluster.address})
    for line in sys.stdin:
        command = json.loads(line)
        if "alive" in command:
            table = cluster.global_state.node_table()
            _answer({node["NodeID"]: node["Resources"] for node in table if node["Alive"]})
        elif "kill" in command:
            raylet = nodes[command["kill"]].all_processes["raylet"][0].process
            raylet.kill()
            raylet.wait()  # its workers end when their parent is gone, which a process that nobody waited for is not
            _answer({})
        elif "remove" in command:
            cluster.remove_node(nodes.pop(command["remove"]))
            cluster.wait_for_nodes()
            _answer({})
        else:
            node = cluster.add_node(num_cpus=1, object_store_memory=MEMORY, **command["add"])
            nodes[node.node_id] = node
            _answer({"node_id": node.node_id, "raylet": node.all_processes["raylet"][0].process.pid})
    cluster.shutdown()


def _answer(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
