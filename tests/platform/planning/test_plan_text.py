"""How `nmlab plan` prints: the time of a step in the unit that a reader expects."""

import pytest

from nmlab.platform.api.plan_text import plan_view
from nmlab.platform.api.rendering import text_of
from nmlab.platform.planning.estimate import Estimate
from nmlab.platform.planning.machine import Machine
from nmlab.platform.planning.plan_record import plan_record

CPU = Machine(
    device="cpu", device_count=1, cores=2, free_bytes=10**10, flops_per_second=1e9, copied_bytes_per_second=1e9
)


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [(0.0000123, "0.0123 ms"), (0.0129, "12.9 ms"), (1.18, "1.2 s"), (13.7, "14 s"), (400.0, "7 min")],
)
def test_a_step_of_a_large_model_is_printed_in_seconds(plan_of, seconds, printed):
    record = plan_record(Estimate(plan_of("baselines=[dense]"), CPU))
    for row in record["memory"]["methods"]:
        row["step_seconds"] = seconds
    line = next(line for line in text_of(plan_view(record)).splitlines() if line.startswith("maskpro"))
    assert line.endswith(f" {printed}")
