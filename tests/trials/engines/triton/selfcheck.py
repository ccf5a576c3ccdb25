"""The check that the engine `auto` makes of the kernels: it passes them, and finds what is wrong."""

import pytest

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import Draw, LinearEngine, store_of
from nmlab.trials.engines.triton import selfcheck
from nmlab.trials.engines.triton.engine import TritonEngine
from nmlab.trials.engines.triton.selfcheck import compared, kernel_fault

PATTERN = Pattern(2, 4)


@pytest.fixture(autouse=True)
def few_groups(monkeypatch):
    """Fewer groups than the check takes elsewhere; and whatever was found before is forgotten."""
    monkeypatch.setattr(selfcheck, "_GROUPS", (150,))
    kernel_fault.cache_clear()
    yield
    kernel_fault.cache_clear()


@pytest.mark.parametrize(("pattern", "kind"), [("2:4", "bfloat16_delta"), ("4:8", "float32")])
def check_that_right_kernels_have_no_fault(lab, pattern, kind):
    assert kernel_fault(lab.device, pattern=Pattern.parse(pattern), kind=kind) is None


def check_that_it_is_made_once_a_process(lab, monkeypatch):
    begun = []

    def counted(*given, **options):
        begun.append(given)
        return TritonEngine(*given, **options)

    monkeypatch.setattr(selfcheck, "TritonEngine", counted)
    assert [kernel_fault(lab.device, pattern=PATTERN, kind="float32") for _ in range(3)] == [None] * 3
    assert len(begun) == 1


class Wrong(TritonEngine):
    """Draws wrong masks, moves too far, or leaves out a group whose mode has changed."""

    fault = ""

    def sample(self, key):
        draw = super().sample(key)
        if self.fault != "masks" or not len(draw.groups_g):
            return draw
        return Draw(key, draw.groups_g, draw.masks_gM.roll(1, dims=0))

    def descend(self, draws, *, weights, rate):
        rate = rate * 1.01 if self.fault == "moves" else rate
        changed_g = super().descend(draws, weights=weights, rate=rate)
        return changed_g[1:] if self.fault == "changed" else changed_g


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("masks", "it draws other masks in "),
        ("moves", "it moves "),
        ("changed", "it does not name the groups whose mode has changed"),
    ],
)
def check_that_wrong_kernels_are_found(lab, fault, message):
    layout = selfcheck._layout(PATTERN)
    engine = Wrong(layout, store=store_of(layout, selfcheck._logits(layout).to(lab.device)))
    engine.fault = fault
    reference = LinearEngine(layout, store=store_of(layout, selfcheck._logits(layout)))
    assert compared(engine, reference, kind="float32").startswith(message)


def check_that_an_engine_that_fails_is_a_fault(lab, monkeypatch):
    monkeypatch.setattr(selfcheck, "TritonEngine", lambda *given, **options: 1 / 0)
    assert kernel_fault(lab.device, pattern=PATTERN, kind="float32") == "ZeroDivisionError: division by zero"
