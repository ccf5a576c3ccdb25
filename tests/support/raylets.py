"""A Ray cluster of several raylets on this machine. Its head has no CPUs; every line read adds a node of one CPU.

Prints one line of JSON for the head, with the address, and one for each node, with its id and the raylet's process.
It ends with its input.
"""

import json
import sys

from ray.cluster_utils import Cluster


def main():
    memory = 100 * 2**20
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": memory})
    print(json.dumps({"address": cluster.address}), flush=True)
    for _ in sys.stdin:
        node = cluster.add_node(num_cpus=1, object_store_memory=memory)
        raylet = node.all_processes["raylet"][0].process.pid
        print(json.dumps({"node_id": node.node_id, "raylet": raylet}), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
