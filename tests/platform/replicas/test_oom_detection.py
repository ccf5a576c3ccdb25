"""A worker that was killed because memory ran out is told from one that died otherwise."""

import json

import pytest
from ray.core.generated.common_pb2 import ActorDeathCause

from nmlab.platform.replicas import oom_detection

BEFORE = {"actor": "a1", "node": "n1", "oom_kills": 3}
OF_MEMORY = ActorDeathCause(
    oom_context={"error_message": "1 worker(s) were killed due to the node running low on memory"}
)
OF_A_SIGNAL = ActorDeathCause(actor_died_error_context={"error_message": "the worker died: SIGKILL"})


@pytest.fixture
def later(monkeypatch, tmp_path):
    """Return a function that returns, as a later process with this name would, why the one before it ended."""

    def ask(*, node="n1", oom_kills=3, death=None, mark=BEFORE):
        asked = []
        monkeypatch.setattr(oom_detection, "_name", lambda: {"actor": "a2", "node": node, "oom_kills": oom_kills})
        monkeypatch.setattr(oom_detection, "death_of", lambda actor: asked.append(actor) or death)
        if mark is not None:
            written = mark if isinstance(mark, bytes) else json.dumps(mark).encode()
            (tmp_path / "at_work.json").write_bytes(written)
        why = oom_detection.why_killed(tmp_path)
        assert asked == (["a1"] if isinstance(mark, dict) else [])
        return why

    return ask


def test_ray_says_that_it_killed_the_worker_for_memory(later):
    assert later(death=OF_MEMORY) == "its worker was killed by Ray's memory monitor"
    assert later(death=OF_MEMORY, node="n2") != "", "wherever the trial goes next"


@pytest.mark.parametrize("death", [None, ActorDeathCause(), OF_A_SIGNAL])
def test_the_kernel_counts_on_the_same_machine_alone(later, death):
    assert later(death=death, oom_kills=4) == "its worker was killed while the kernel was out of memory"
    assert later(death=death, oom_kills=3) == ""
    assert later(death=death, oom_kills=4, node="n2") == ""


DAMAGED = [
    b"",
    b'{"actor": "a',
    b'{"actor": "a1", "node": "n1"}',
    b'{"actor": "a1", "node": "n1", "oom_kills": "3"}',
    b'["a1", "n1", 3]',
    b"\xff\xfe\x80",
]


@pytest.mark.parametrize("mark", [None, *DAMAGED])
def test_without_a_whole_mark_ray_is_not_asked(later, mark):
    assert later(mark=mark, oom_kills=9, death=OF_MEMORY) == ""


def test_a_mark_stays_when_a_process_did_not_finish(monkeypatch, tmp_path):
    monkeypatch.setattr(oom_detection, "_name", lambda: BEFORE)
    monkeypatch.setattr(oom_detection, "death_of", lambda actor: None)
    mark = tmp_path / "trial" / "at_work.json"
    with oom_detection.marked_as_worked_on(tmp_path / "trial") as why:
        assert json.loads(mark.read_text()) == BEFORE
    assert why == ""
    assert not mark.exists()
    with pytest.raises(KeyboardInterrupt), oom_detection.marked_as_worked_on(tmp_path / "trial"):
        raise KeyboardInterrupt
    assert mark.exists()


def test_the_kernels_count_is_read_where_there_is_one(monkeypatch, tmp_path):
    counts = tmp_path / "vmstat"
    monkeypatch.setattr(oom_detection, "_COUNTS", counts)
    assert oom_detection.oom_kills() == 0
    counts.write_text("nr_free_pages 12\noom_kill 7\ndrop_slab 0\n")
    assert oom_detection.oom_kills() == 7
