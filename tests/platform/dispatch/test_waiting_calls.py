"""The calls of the dispatcher that wait, on the class itself in an event loop of the test."""

import asyncio
import time

import pytest
from dispatchers import DONE, SPEC

from nmlab.platform.dispatch.dispatcher import Dispatcher
from nmlab.platform.dispatch.messages import Message, ReplicaProcess, can_wait
from nmlab.platform.records.events import TrialEnded, TrialMetrics

LONG_SECONDS = 60.0


class Called:
    """An opened dispatcher whose replica runs the trial ``k``."""

    def __init__(self):
        self.dispatcher = Dispatcher(max_failures=3, expected=None)
        self.generation = self.dispatcher._state.generation
        self.process, self.number, self.acknowledged = ReplicaProcess("a", 1), 0, 0

    async def begin(self):
        await self.dispatcher.open({}, replicas={}, cancelled=[], leased={})
        self.dispatcher._state.introduce(self.process, {"slots": 1}, [], now=time.monotonic())
        await self.dispatcher.submit("k", spec={**SPEC, "key": "k"}, times_leased=0)
        self.epoch = (await self.dispatcher.take(self.process, slot=0, last_epoch=0, within=LONG_SECONDS)).epoch
        await self.drain(within=0.0)
        return self

    async def drain(self, *, within):
        drained = await self.dispatcher.drain(
            self.generation, acknowledged=self.acknowledged, refused=[], within=within
        )
        self.acknowledged = drained.upto
        return [logged.record.event for logged in drained.records]

    async def receive(self, record):
        self.number += 1
        await self.dispatcher.receive(
            self.process,
            generation=self.generation,
            running=[("k", self.epoch)],
            messages=[Message(self.number, record, self.epoch)],
        )


def point(**values):
    return TrialMetrics(key="k", step=1, time=0, values={name.replace("_", "/", 1): 1.0 for name in values}, host="a")


END = TrialEnded(key="k", result={**DONE, "key": "k"}, host="a")


@pytest.mark.parametrize("urgent", [END, point(eval_perplexity=1), point(initial_perplexity=1)], ids=lambda r: r.event)
def test_points_of_a_training_curve_travel_with_the_next_record_that_is_urgent(urgent):
    async def told():
        called = await Called().begin()
        draining = asyncio.create_task(called.drain(within=LONG_SECONDS))
        await called.receive(point(train_loss=1))
        await asyncio.sleep(0.6)  # longer than waiters take to re-check
        assert not draining.done()
        await called.receive(urgent)
        return await asyncio.wait_for(draining, 10)

    assert asyncio.run(told()) == ["metrics", urgent.event]


def test_points_of_a_training_curve_are_passed_on_when_the_driver_has_waited():
    async def told():
        called = await Called().begin()
        await called.receive(point(train_loss=1))
        return await asyncio.wait_for(called.drain(within=0.1), 10), await called.drain(within=0.0)

    assert asyncio.run(told()) == (["metrics"], [])


def test_a_trial_actor_is_told_of_an_end_once_it_is_journaled():
    async def told():
        called = await Called().begin()
        await called.receive(END)
        pulling = asyncio.create_task(called.dispatcher.pull("k", after=0, within=LONG_SECONDS))
        await called.drain(within=LONG_SECONDS)
        await asyncio.sleep(0.6)
        assert not pulling.done()
        await called.drain(within=0.0)  # acknowledges the end
        return (await asyncio.wait_for(pulling, 10)).ended["status"]

    assert asyncio.run(told()) == "finished"


def test_only_points_of_a_training_curve_can_wait():
    later = [point(train_loss=1), point(time_step_s=1)]
    assert [can_wait(each) for each in (*later, END, point(train_loss=1, eval_perplexity=2))] == [
        True,
        True,
        False,
        False,
    ]
