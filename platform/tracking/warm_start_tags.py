"""What the run of a launch says of the earlier launches that its search started from."""

from nmlab.platform.records.events import WarmStarted
from nmlab.trials.contract import run_tags

_TEXT = 5000


def warm_start_tags(warm: WarmStarted | None) -> dict[str, str]:
    """Return the tags of a launch's run; none if its search started from nothing."""
    if warm is None:
        return {}
    return {run_tags.WARM_START: "\n".join(source["line"] for source in warm.sources)[:_TEXT]}
