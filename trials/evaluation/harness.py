"""The one place that imports lm-evaluation-harness (the optional extra `tasks`); import it when tasks are asked for."""

import copy
import logging
from collections.abc import Sequence
from functools import cache, partial
from importlib.metadata import version
from typing import Any, TypeAlias

import lm_eval.api.model
import lm_eval.api.task
import lm_eval.models.huggingface
import torch
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.log_levels import at_least
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.evaluation.questions import LocalTask, local_task
from nmlab.trials.models import MaskedModel

VERSION = f"lm_eval {version('lm_eval')}"
_SEED = 1234  # the harness's own default for the choice of few-shot examples

Loaded: TypeAlias = dict[str, Any]
"""Tasks as the harness loads them: ``tasks`` and ``groups`` by name, and ``group_map``, the tasks of each group."""
_Request: TypeAlias = tuple[object, Sequence[int], Sequence[int]]
"""A question and an answer as text, and the tokens of each."""


def _disabled_bar(*arguments: Any, **options: Any) -> object:
    """Return a progress bar that shows nothing, in place of tqdm."""
    return tqdm(*arguments, **{**options, "disable": True})


_quiet = partial(at_least, logging.ERROR, "lm_eval")
"""Silences the library's log below errors; entered around every use of it."""


@cache
def _disable_progress_bars() -> None:
    """Replace the library's progress bars, for which it has no option, when it is first used.

    They do not come back after each use, since trials that run side by side share the library.
    """
    for module in (lm_eval.api.task, lm_eval.models.huggingface, lm_eval.api.model):
        module.tqdm = _disabled_bar


class MaskedLM(HFLM):  # type: ignore[misc]
    """A masked model with the interface of the harness; nothing is copied or written.

    Log-probabilities are computed in float32 whatever the model's type; the harness would round them to bfloat16.
    """

    def __init__(self, model: MaskedModel, *, batch_size: int) -> None:
        super().__init__(
            pretrained=model.module,
            backend="causal",
            tokenizer=copy.deepcopy(model.frozen.tokenizer),  # the harness adds a padding token, and trials share ours
            batch_size=batch_size,
            softmax_dtype=torch.float32,
        )

    def _loglikelihood_tokens(self, requests: list[_Request], **options: object) -> object:
        longest = max((len(continuation) for _, _, continuation in requests), default=0)
        if longest > self.max_length:
            raise SourceError(f"tasks: an answer has {longest} tokens, the model reads at most {self.max_length}")
        return super()._loglikelihood_tokens(requests, **options)


@_quiet()
def load(references: Sequence[str], *, few_shot: int | None) -> Loaded:
    """Return the harness's tasks for local files and registered names, ready to be run once.

    Raises ``SourceError`` for a name that is unknown, given twice, or whose data cannot be reached.
    """
    _disable_progress_bars()
    loaded: Loaded = {"tasks": {}, "groups": {}, "group_map": {}}
    for reference in references:
        found = _load_one(reference)
        if twice := sorted(loaded["tasks"].keys() & found["tasks"].keys()):
            raise SourceError(f"tasks: {twice[0]!r} is asked for twice, the second time by {reference!r}")
        for part, entries in found.items():
            loaded[part] |= entries
    for task in loaded["tasks"].values():
        _set_few_shot(task, few_shot)
    return loaded


@_quiet()
def run(model: MaskedModel, loaded: Loaded, *, batch_size: int, limit: int | None) -> JsonObject:
    """Return the harness's results, with one sample for every question; ``loaded`` can be run only once."""
    found: JsonObject = evaluate(
        MaskedLM(model, batch_size=batch_size), task_dict=loaded, limit=limit, bootstrap_iters=0, log_samples=True
    )
    return found


@_quiet()
def longest_answer(loaded: Loaded, *, tokenizer: PreTrainedTokenizerBase, limit: int | None) -> tuple[str, int]:
    """Return the task with the longest answer and how many tokens that has; ``loaded`` can't be run afterwards."""
    longest = {}
    for name, task in loaded["tasks"].items():
        task.build_all_requests(limit=limit)
        answers = [instance.args[1] for instance in task.instances if instance.request_type == "loglikelihood"]
        tokens = tokenizer(answers, add_special_tokens=False)["input_ids"] if answers else []
        longest[name] = max(map(len, tokens), default=0)
    return max(longest.items(), key=lambda item: item[1])


@cache
def _manager(*, registered: bool) -> TaskManager:
    """Return the task manager, with the index of registered tasks only if needed: it takes seconds to build."""
    return TaskManager(include_defaults=registered)


def _load_one(reference: str) -> Loaded:
    local = local_task(reference)
    if local is not None:
        return _load_local(local)
    manager = _manager(registered=True)
    if reference not in manager.all_tasks:
        expected = "expected a name that `lm-eval ls tasks` lists, or a JSON-lines file"
        raise SourceError(unknown_name(reference, kind="task", known=manager.all_tasks, expected=expected))
    try:
        return dict(manager.load([reference]))
    except Exception as error:  # the Hugging Face hub, the builders and the tasks' own code raise many unrelated types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(
            f"task {reference!r}: its data could not be fetched ({reason}); "
            "check the network, or give the questions as a JSON-lines file"
        ) from error


def _load_local(local: LocalTask) -> Loaded:
    local.rows()  # raises for a wrong line with our message, before the harness wraps it
    return dict(_manager(registered=False).load([local.configuration()]))


def _set_few_shot(task: Any, few_shot: int | None) -> None:
    """Set the number of examples as the harness's command line does: a task may forbid them; the default is none."""
    own = task.get_config("num_fewshot")
    if few_shot is not None and own != 0:
        task.set_config(key="num_fewshot", value=few_shot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=_SEED)
