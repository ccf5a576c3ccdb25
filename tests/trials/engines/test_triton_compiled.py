"""The Triton kernels compiled ahead for devices that are not there: machine code comes out, and nothing spills."""

from functools import cache

import pytest

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.triton.availability import interpreting

pytest.importorskip("triton", reason="the package triton exists for Linux only")
pytestmark = pytest.mark.skipif(interpreting(), reason="the interpreter has no compiler")

MOVING = {"update and sample", "touch"}
DRAWING = {"sample", "order", "draw", "patch"}


@cache
def compiled_for(pattern, *, difference, capability):
    from nmlab.trials.engines.triton.compiled import compile_kernels

    return compile_kernels(Pattern.parse(pattern), difference=difference, capability=capability)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.thorough), 90])
@pytest.mark.parametrize(
    ("pattern", "difference", "kernels"),
    [("2:4", False, DRAWING | MOVING), ("2:4", True, DRAWING | MOVING), ("8:16", False, DRAWING)],
)
def test_every_kernel_compiles_without_spilling(pattern, difference, kernels, capability):
    compiled = compiled_for(pattern, difference=difference, capability=capability)
    assert compiled.keys() == kernels
    for name, kernel in compiled.items():
        assert f".target sm_{capability}" in kernel.ptx, name
        assert len(kernel.instructions) > 50, name
        assert not kernel.spills, name
        assert kernel.registers <= 128, name


@pytest.mark.slow
def test_the_pass_over_all_groups_stays_below_the_speed_of_memory():
    """What makes the fused pass as fast as a copy: 16-byte accesses, few instructions, and nothing between threads."""
    compiled = compiled_for("2:4", difference=False, capability=90)["update and sample"]
    names = compiled.instructions
    # The first exit is the end for a program that has found nothing, which is nearly every one.
    usual = names[: names.index("EXIT")]
    assert len(usual) / 16 < 56  # per weight: a thread serves four groups; beyond, arithmetic would outlast memory
    assert usual.count("LDG.E.128") == 4
    assert usual.count("STG.E.128") == 4
    assert compiled.registers <= 64
