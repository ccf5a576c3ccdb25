"""Turn an error of ``ray.init`` into one line that says why a cluster could not be joined and what to do.

Ray raises ``RuntimeError``, ``ConnectionError`` and plain ``Exception`` for all reasons, so the reasons are recognised
by the texts of Ray 2.60 (``worker.py``, ``services.py``, ``utils.py``).
"""

import re
from collections.abc import Callable

from nmlab.platform.cluster.connection_check import token_refused
from nmlab.platform.failures import reason_line

_RAN = re.compile(r"Ray: (?P<ray>\S+)\s+Python: (?P<python>\S+)")
_SEVERAL = re.compile(r"multiple active Ray instances: \{(?P<addresses>[^}]*)\}")


def why_not_joined(error: BaseException, *, address: str) -> str:
    """Return the message for an error that ``ray.init(address=address)`` raised."""
    texts = []
    cause: BaseException | None = error
    while cause is not None:
        texts.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__
    text = "\n".join(texts)
    for words, message in _KNOWN:
        if any(word in text for word in words):
            return message(address, text)
    return f"the Ray cluster at {address!r} could not be joined: {reason_line(error)}"


def _token_refused(address: str, text: str) -> str:
    return token_refused(address)


def _other_versions(address: str, text: str) -> str:
    ran = [f"Ray {found['ray']} on Python {found['python']}" for found in _RAN.finditer(text)]
    if len(ran) != 2:
        return f"the Ray cluster at {address!r} runs other versions of Ray or Python; install the same versions here"
    return f"the Ray cluster at {address!r} runs {ran[0]}, this process {ran[1]}; install the same versions here"


def _none_here(address: str, text: str) -> str:
    return (
        f"no Ray cluster answers at {address!r}: none runs on this machine; start one with `ray start --head`, or give "
        "HOST:PORT of a head node"
    )


def _several_here(address: str, text: str) -> str:
    found = _SEVERAL.search(text)
    named = found["addresses"].replace("'", "") if found else "more than one"
    return f"address {address!r}: several Ray clusters run on this machine ({named}); give one of them as HOST:PORT"


def _no_node_here(address: str, text: str) -> str:
    return (
        f"the Ray cluster at {address!r} answers, but this machine is not one of its nodes; run nmlab on one of them, "
        "or send the study with `nmlab submit`"
    )


def _connected_already(address: str, text: str) -> str:
    return f"address {address!r}: this process is already connected to Ray; call ray.shutdown() first"


def _silent(address: str, text: str) -> str:
    return f"no Ray cluster answers at {address!r}: {reason_line(RuntimeError(text))}"


_KNOWN: tuple[tuple[tuple[str, ...], Callable[[str, str], str]], ...] = (
    (("Version mismatch",), _other_versions),
    (("AuthenticationError", "Token authentication is enabled", "Invalid authentication token"), _token_refused),
    (("Could not find any running Ray instance",), _none_here),
    (("multiple active Ray instances",), _several_here),
    (("No node info found matching",), _no_node_here),
    (("called ray.init twice",), _connected_already),
    (("Failed to connect to GCS", "Failed to connect to Ray cluster", "ConnectionError: "), _silent),
)
