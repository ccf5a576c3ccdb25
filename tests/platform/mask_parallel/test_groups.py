"""Mask-parallel groups by plain calls: all masks are evaluated, though peers join, leave, are late or out of sync."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.platform.mask_parallel.group import MaskParallelGroup
from nmlab.platform.mask_parallel.messages import LEADER, AllLosses, Closed, Evaluate, Reload

DIGEST = b"same"


def loss(step, index):
    return step + index / 100


def evaluate(group, member, step, mine, digest=DIGEST):
    return group.report(member, step, given={index: loss(step, index) for index in mine}, digest=digest)


def take_step(group, *members):
    """Let all members go through one step; return the losses that each got, and the share of each."""
    step, received, shares = group.step, {}, {}
    for member in members:
        answer = group.report(member, step, given={}, digest=DIGEST)
        shares[member] = answer.masks if isinstance(answer, Evaluate) else []
        evaluate(group, member, step, shares[member])
    for member in members:
        received[member] = group.report(member, step, given={}, digest=DIGEST).steps
    return received, shares


@pytest.mark.parametrize("masks", [1, 2, 3, 8])
@pytest.mark.parametrize("others", [0, 1, 3])
def test_masks_are_shared_out_evenly_and_every_member_gets_all_losses(masks, others):
    group = MaskParallelGroup(masks, step=0)
    members = [LEADER, *(f"m{number}" for number in range(others))]
    for member in members:
        group.join(member)
    for step in range(3):
        received, shares = take_step(group, *members)
        assert sorted(index for share in shares.values() for index in share) == list(range(masks))
        assert max(map(len, shares.values())) - min(map(len, shares.values())) <= 1
        assert list(received.values()) == [[[loss(step, index) for index in range(masks)]]] * len(members)


def test_a_member_that_has_sent_its_share_waits_for_the_others():
    group = MaskParallelGroup(2, step=0)
    group.join("a")
    assert evaluate(group, LEADER, 0, [0]) is None
    assert group.report("a", 0, given={}, digest=DIGEST) == Evaluate([1])
    assert group.report(LEADER, 0, given={}, digest=DIGEST) is None
    evaluate(group, "a", 0, [1])
    assert group.report(LEADER, 0, given={}, digest=DIGEST) == AllLosses([[0.0, 0.01]])


def test_the_leader_gets_the_share_of_a_lost_peer():
    group = MaskParallelGroup(4, step=0)
    group.join("a")
    assert group.report("a", 0, given={}, digest=DIGEST) == Evaluate([1, 3])
    assert evaluate(group, LEADER, 0, [0, 2]) is None
    group.leave("a")
    assert group.report(LEADER, 0, given={}, digest=DIGEST) == Evaluate([1, 3])
    assert evaluate(group, LEADER, 0, [1, 3]) == AllLosses([[0.0, 0.01, 0.02, 0.03]])


def test_the_losses_that_a_lost_peer_has_sent_count():
    group = MaskParallelGroup(4, step=0)
    group.join("a")
    evaluate(group, "a", 0, [1, 3])
    group.leave("a")
    assert evaluate(group, LEADER, 0, [0, 2]) == AllLosses([[0.0, 0.01, 0.02, 0.03]])


def test_the_leader_does_not_wait_for_ever_and_a_late_peer_goes_on_with_the_next_step():
    group = MaskParallelGroup(2, step=0)
    group.join("slow")
    assert group.report("slow", 0, given={}, digest=DIGEST) == Evaluate([1])
    assert evaluate(group, LEADER, 0, [0]) is None
    group.take_over()
    assert group.report(LEADER, 0, given={}, digest=DIGEST) == Evaluate([1])
    assert isinstance(evaluate(group, LEADER, 0, [1]), AllLosses)
    assert evaluate(group, "slow", 0, [1]) == AllLosses([[0.0, 0.01]])
    assert group.report("slow", 1, given={}, digest=DIGEST) == Evaluate([1])


def test_a_late_peer_gets_no_masks_until_it_sends_a_message():
    group = MaskParallelGroup(2, step=0)
    group.join("dead")
    evaluate(group, LEADER, 0, [0])
    group.take_over()
    evaluate(group, LEADER, 0, [1])
    assert group.report(LEADER, 1, given={}, digest=DIGEST) == Evaluate([0, 1])
    evaluate(group, LEADER, 1, [0, 1])
    group.report("dead", 0, given={}, digest=DIGEST)
    assert group.report(LEADER, 2, given={}, digest=DIGEST) == Evaluate([0])


def test_a_late_peer_gets_the_losses_of_all_steps_since_the_last_but_one_checkpoint():
    group = MaskParallelGroup(1, step=0)
    for step in range(7):
        take_step(group, LEADER)
        if step in (1, 3, 5):
            group.note_checkpoint(step + 1)
    group.join("a")
    assert group.report("a", 6, given={}, digest=DIGEST) == AllLosses([[loss(6, 0)]])
    assert group.report("a", 4, given={}, digest=DIGEST) == AllLosses([[loss(step, 0)] for step in (4, 5, 6)])
    assert group.report("a", 3, given={}, digest=DIGEST) == Reload()


def test_a_peer_with_other_logits_is_detected_with_a_notice_and_its_losses_do_not_count():
    group = MaskParallelGroup(2, step=5)
    group.join("a")
    assert evaluate(group, LEADER, 5, [0]) is None
    answer = group.report("a", 5, given={1: 99.0}, digest=b"else")
    assert answer == Reload()
    assert group.notices == ["a held other logits than the leader at step 5 and starts again"]
    assert group.report(LEADER, 5, given={}, digest=DIGEST) == Evaluate([1])
    assert evaluate(group, LEADER, 5, [1]) == AllLosses([[5.0, 5.01]])


def test_the_leader_is_right_also_when_it_comes_last():
    group = MaskParallelGroup(3, step=0)
    for member in ("a", "b"):
        group.join(member)
    group.report("a", 0, given={1: 99.0}, digest=b"else")
    evaluate(group, "b", 0, [2])
    assert evaluate(group, LEADER, 0, [0]) == Evaluate([1])
    assert evaluate(group, LEADER, 0, [1]) == AllLosses([[0.0, 0.01, 0.02]])
    assert group.report("a", 1, given={}, digest=b"else") == Reload()


def test_a_peer_out_of_sync_three_times_is_excluded():
    group = MaskParallelGroup(2, step=0)
    for _ in range(3):
        group.join("a")
        step = group.step
        group.report("a", step, given={1: 99.0}, digest=b"else")
        evaluate(group, LEADER, step, [0])
        evaluate(group, LEADER, step, [1])
    group.join("a")
    assert group.report("a", group.step, given={}, digest=b"else") == Closed()


def test_no_member_can_run_ahead():
    group = MaskParallelGroup(1, step=3)
    assert group.report(LEADER, 4, given={}, digest=DIGEST) is None


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**32))
def test_whatever_happens_the_leader_gets_through_with_the_right_losses(masks, seed):
    """Peers join, leave, are late, out of sync and reload in any order; only the leader must not stop."""
    chance = random.Random(seed)
    group, at, known = MaskParallelGroup(masks, step=0), {LEADER: 0}, {LEADER: []}
    wrong = set()
    for _ in range(400):
        if group.step >= 6 and at[LEADER] >= 6:
            break
        event = chance.random()
        others = [member for member in at if member != LEADER]
        if event < 0.1 and len(at) < 4:
            member = f"m{chance.randrange(10**9)}"
            group.join(member)
            at[member], known[member] = 0, []
        elif event < 0.15 and others:
            gone = chance.choice(others)
            group.leave(gone)
            del at[gone]
        elif event < 0.2:
            group.take_over()
        elif event < 0.25 and others:
            wrong.add(chance.choice(others))
        elif event < 0.3:
            group.note_checkpoint(at[LEADER])
        else:
            member = chance.choice(list(at))
            digest = b"else" if member in wrong else DIGEST
            answer = group.report(member, at[member], given={}, digest=digest)
            if isinstance(answer, Evaluate):
                share = chance.sample(answer.masks, chance.randint(1, len(answer.masks)))
                off = 50.0 if member in wrong else 0.0
                values = {index: loss(at[member], index) + off for index in share}
                answer = group.report(member, at[member], given=values, digest=digest)
            if isinstance(answer, AllLosses):
                known[member] += answer.steps
                at[member] += len(answer.steps)
            if isinstance(answer, Reload | Closed):
                assert member != LEADER
                group.leave(member)
                del at[member]
                wrong.discard(member)
    assert at[LEADER] >= 6
    for losses in known.values():
        assert losses == [[loss(step, index) for index in range(masks)] for step in range(len(losses))]
