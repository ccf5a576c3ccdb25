"""On which Ray a sweep runs: that of this process, a local one, or the one that an address names."""

from nmlab.platform.cluster.session import CONNECTED, connected_to


def chosen_address(given: str | None) -> str | None:
    """Return the address that a launch is given: `CONNECTED` where this process is connected to Ray, else ``given``.

    Raises ``ValueError`` if the process is connected to another Ray than the one that is given. A process has one
    connection at a time, and the caller's is never ended.
    """
    present = connected_to()
    if present is None:
        return given
    if given in (None, present):
        return CONNECTED
    raise ValueError(
        f"address {given!r}: this process is connected to the Ray at {present} already; give no address to use it, or "
        "call ray.shutdown() first"
    )
