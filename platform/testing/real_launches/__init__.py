"""Whole launches as users start them, from the command line, on real Ray and a real store: watched, killed, compared.

| module | what it is |
| --- | --- |
| `launched` | a folder in which the command line runs, its processes, and what must be there in the end |
| `studies` | the small study that such launches start from |
| `raylet_cluster`, `raylets` | a Ray cluster of several nodes on this machine |

For tests and benchmarks; Linux only.
"""
