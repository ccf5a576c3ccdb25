"""Evaluation of a masked model: perplexity and tasks."""

from nmlab.trials.evaluation.evaluate import EvaluationResult, evaluate
from nmlab.trials.evaluation.perplexity import Perplexity, measure_perplexity
from nmlab.trials.evaluation.tasks import TaskResult, TaskResults, check_tasks, run_tasks

__all__ = [
    "EvaluationResult",
    "Perplexity",
    "TaskResult",
    "TaskResults",
    "check_tasks",
    "evaluate",
    "measure_perplexity",
    "run_tasks",
]
