"""Memory peaks of periods of work, as Linux counts them: of single, overlapping, and of the whole process."""

import gc
import weakref

import pytest
import torch

from nmlab.trials.measure import memory
from nmlab.trials.measure.memory import PeakMeter, can_measure_peaks, exempt_from_gc, peak_bytes, release_memory

CPU, MEGA = torch.device("cpu"), 2**20
pytestmark = pytest.mark.skipif(not can_measure_peaks(CPU), reason="the system does not let its peak be reset")


def _take(megabytes):
    return torch.ones(megabytes * MEGA // 4)


def _is_about(found, megabytes):
    return abs(found - megabytes * MEGA) < 16 * MEGA


def test_a_period_has_its_own_peak():
    release_memory()
    first = PeakMeter(CPU)
    _take(200)
    assert _is_about(first.rise(), 200)
    second = PeakMeter(CPU)
    _take(80)
    assert _is_about(second.rise(), 80)
    assert _is_about(first.rise(), 200), "the second did not make it forget"
    third = PeakMeter(CPU)
    assert _is_about(third.rise(), 0)


def test_what_is_held_when_it_begins_is_no_rise_but_part_of_the_peak():
    held = _take(150)
    meter = PeakMeter(CPU)
    assert _is_about(meter.rise(), 0)
    assert meter.peak() > held.nbytes
    more = _take(60)
    assert _is_about(meter.rise(), 60)
    assert len(more) < len(held)


def test_a_peak_that_another_thread_reads_the_moment_a_meter_begins(monkeypatch):
    """As two slots do that begin their trials together; seen as an AttributeError, which failed a trial."""
    begin = memory._DeviceMemory.begin

    def begins(kept, meter):
        begin(kept, meter)
        kept.flush_peak()

    monkeypatch.setattr(memory._DeviceMemory, "begin", begins)
    meter = PeakMeter(CPU)
    assert meter.highest >= meter.before > 0


def test_overlapping_periods_both_get_the_peak():
    release_memory()
    early = PeakMeter(CPU)
    _take(100)
    late = PeakMeter(CPU)
    _take(180)
    assert _is_about(early.rise(), 180)
    assert _is_about(late.rise(), 180)


def test_the_peak_of_the_process_is_never_forgotten():
    _take(300)
    highest = peak_bytes(CPU)
    assert highest > 300 * MEGA
    PeakMeter(CPU)
    assert peak_bytes(CPU) >= highest


def test_a_system_without_support_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_RESET", tmp_path / "no such folder" / "clear_refs")
    can_measure_peaks.cache_clear()
    try:
        assert not can_measure_peaks(CPU)
        with pytest.raises(OSError, match="clear_refs"):
            PeakMeter(CPU)
        assert peak_bytes(CPU) > MEGA
    finally:
        can_measure_peaks.cache_clear()


class _Cycle:
    def __init__(self):
        self.own = self


def test_what_is_alive_is_exempt_from_collection_and_what_comes_later_is_not():
    kept, gone = _Cycle(), weakref.ref(_Cycle())
    exempt_from_gc()
    try:
        assert gone() is None, "what was free before is collected first"
        assert all(found is not kept for found in gc.get_objects())
        later = weakref.ref(_Cycle())
        release_memory()
        assert later() is None
    finally:
        gc.unfreeze()
        gc.freeze()  # as tests/conftest.py has it
