"""Puts the stand-ins into nmlab's modules for as long as a simulation lasts: for Ray, clocks, threads, models, MLflow.

Everything else is the code of a real sweep: phases, records, journal, state, driver loop, dispatcher, coordinator,
worker loop, worker link, searcher and trial actors.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from nmlab.platform import sweep
from nmlab.platform.dispatch import actor_calls, dispatcher, driver_loop, notifier, worker_link
from nmlab.platform.driver import close_launch, open_launch, record_keeper, running_trials, stop_requests
from nmlab.platform.launches import journal, state, status, trial_ends
from nmlab.platform.mask_parallel import coordinator, peer, shared_trials
from nmlab.platform.process import shutdown
from nmlab.platform.replicas import oom_detection, replica, train_run, worker
from nmlab.platform.testing.simulation.simulated_train import settings
from nmlab.platform.testing.simulation.simulated_trials import SimulatedReplicaContext
from nmlab.platform.tracking import recorder
from nmlab.platform.tuning import tune
from nmlab.trials.files import disk
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS

if TYPE_CHECKING:
    from nmlab.platform.testing.simulation.simulated_launch import SimulatedLaunch

WITH_CLOCK: tuple[ModuleType, ...] = (
    *(actor_calls, close_launch, coordinator, disk, dispatcher, driver_loop, notifier, peer, recorder, replica),
    *(running_trials, shutdown, state, status, trial_ends, worker, worker_link),
)
WITH_THREADS: tuple[ModuleType, ...] = (
    *(driver_loop, journal, record_keeper, recorder, replica, shutdown, stop_requests, worker, worker_link),
)
WITH_RAY: tuple[ModuleType, ...] = (actor_calls, oom_detection, train_run, worker, worker_link)
PROVENANCE = {"commit": "simulated"}
_TRAIN_SETTINGS = ("ScalingConfig", "RunConfig", "FailureConfig", "LoggingConfig")


@contextmanager
def put_in(
    time: object, threading: object, ray: object, *, others: Mapping[ModuleType, Mapping[str, object]]
) -> Iterator[None]:
    """Replace ``time``, ``threading`` and ``ray`` where a sweep uses them, and ``others`` by module and name."""
    changes: list[tuple[ModuleType, str, object]] = [(module, "time", time) for module in WITH_CLOCK]
    changes += [(module, "threading", threading) for module in WITH_THREADS]
    changes += [(module, "ray", ray) for module in WITH_RAY]
    changes += [(module, name, value) for module, names in others.items() for name, value in names.items()]
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    try:
        for module, name, value in changes:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def of_the_worker(simulation: "SimulatedLaunch") -> dict[str, object]:
    """Return what the loop of a worker is given in place of torch, a model and real trials."""
    return {
        "torch": SimpleNamespace(
            set_num_threads=lambda threads: None, device=torch.device, cuda=SimpleNamespace(is_available=lambda: False)
        ),
        "form_pipelines": lambda *, slots, device: [SINGLE_PROCESS] * slots,
        "prove": simulation.prove,
        "why_worker_does_not_fit": lambda load, **facts: simulation.why_too_large,
        "FrozenModel": SimpleNamespace(load=simulation.load_model),
        "ReplicaContext": SimulatedReplicaContext,
        "exempt_from_gc": lambda: None,
        "run_trial": simulation.trials.run,
    }


def of_the_driver(simulation: "SimulatedLaunch") -> dict[ModuleType, dict[str, object]]:
    """Return what the modules of the driver are given in place of Ray's libraries, MLflow and locks of the machine."""
    return {
        sweep: {
            "owned": simulation.owned,
            "expected_proof": lambda folder: nullcontext((folder / "nonce", simulation.expected_proof)),
            "cluster": simulation.cluster,
            "StopRequests": simulation.new_stop_requests,
            "watch_head": lambda lost: SimpleNamespace(stop=lambda: None),
        },
        open_launch: {
            "MlflowStore": lambda study, *, launch, uri: simulation.store,
            "Journal": simulation.open_journal,
            "LaunchState": partial(_launch_state, simulation.time),
            "environment": dict,
            "provenance": lambda: dict(PROVENANCE),
        },
        replica: {"ray_nodes": simulation.ray.nodes},
        train_run: {
            "TrainRun": simulation.train.run,
            **dict.fromkeys(("ScalingConfig", "RunConfig", "FailureConfig", "LoggingConfig"), settings),
        },
        tune: {"_tuner": simulation.new_tuner},
        shutdown: {"exit_at_once": simulation.exit_at_once},
        running_trials: {"why_unreadable": simulation.why_unreadable},
        oom_detection: {"death_of": lambda name: None},
        shared_trials: {"follow_trial": simulation.trials.follow},
    }


def _launch_state(time: Any, *args: Any, **named: Any) -> state.LaunchState:
    """Return the state of a launch that starts at the virtual time."""
    named["started"] = time.time()
    return state.LaunchState(*args, **named)


def nonce_of(path: Path) -> str:
    """Return the number that a worker reads which sees the launch's folder."""
    return f"nonce of {path.parent.name}"
