"""Tasks through lm-evaluation-harness: the same results as calling the harness by hand, question by question."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import EvaluationSpec
from nmlab.trials.evaluation import check_tasks, run_tasks, tasks
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource
from nmlab.trials.trial.run import run_trial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.lm_eval,
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs the extra `tasks`"),
]
WORDS = ["mask", "weight", "layer", "group", "sparse", "dense", "model", "token", "loss", "gradient"]


@pytest.fixture(scope="module")
def quiz(tmp_path_factory):
    """Forty questions of two to four choices, with blanks, always the same."""
    draw = random.Random(0)
    rows = [
        {
            "question": f"The {draw.choice(WORDS)} of the _ is kept by every {draw.choice(WORDS)}.",
            "choices": [" ".join(draw.sample(WORDS, draw.randint(1, 3))) for _ in range(draw.randint(2, 4))],
            "label": draw.randint(0, 1),
        }
        for _ in range(40)
    ]
    path = tmp_path_factory.mktemp("quiz") / "quiz.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def masked():
    frozen = FrozenModel.load(ModelSource(source="builtin:tiny"))
    model, draw = MaskedModel(frozen), torch.Generator().manual_seed(0)
    scores = {at.name: torch.rand(at.out_features, at.in_features, generator=draw) for at in frozen.layers}
    model.apply_masks({name: topn(score, Pattern(2, 4)) for name, score in scores.items()})
    return model


def _spec(*references, **changes):
    return EvaluationSpec(source="builtin:python-docs", tasks=references, **{"batch_size": 4, **changes})


@pytest.fixture(scope="module")
def answered(masked, quiz):
    """What the masked model answers to all forty questions."""
    return run_tasks(masked, _spec(str(quiz)))


def _check(spec, *, tokenizer=None):
    check_tasks(spec, tokenizer=tokenizer, longest=256)


# The prompts as the harness's own YAML files of openbookqa, arc_easy and winogrande put them.
BY_HAND = {
    "cloze": {
        "doc_to_text": "question_stem",
        "doc_to_target": "{{choices.label.index(answerKey.lstrip())}}",
        "doc_to_choice": "{{choices.text}}",
    },
    "qa": {
        "doc_to_text": "Question: {{question_stem}}\nAnswer:",
        "doc_to_target": "{{choices.label.index(answerKey)}}",
        "doc_to_choice": "{{choices.text}}",
    },
    "blank": {
        "doc_to_text": lambda doc: "ABCD".index(doc["answerKey"]),
        "doc_to_target": lambda doc: doc["question_stem"][doc["question_stem"].index("_") + 1 :].strip(),
        "doc_to_choice": lambda doc: [doc["question_stem"].split("_")[0] + text for text in doc["choices"]["text"]],
    },
}


def _by_hand(model, path, style, *, batch_size):
    import datasets
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    docs = [
        {
            "question_stem": row["question"],
            "choices": {"text": row["choices"], "label": list("ABCD")[: len(row["choices"])]},
            "answerKey": "ABCD"[row["label"]],
        }
        for row in rows
    ]
    task = {
        "task": "by_hand",
        "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(docs)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        **BY_HAND[style],
    }
    harness = HFLM(pretrained=model.module, tokenizer=model.frozen.tokenizer, batch_size=batch_size)
    manager = TaskManager(include_defaults=False)
    found = lm_eval.simple_evaluate(harness, tasks=[task], task_manager=manager, bootstrap_iters=0)
    return found["results"]["by_hand"], sorted(found["samples"]["by_hand"], key=lambda sample: sample["doc_id"])


@pytest.mark.parametrize("style", ["cloze", "qa", "blank"])
def test_every_question_is_answered_as_by_the_harness_by_hand(masked, quiz, style):
    results, samples = _by_hand(masked, quiz, style, batch_size=3)
    (ours,) = run_tasks(masked, _spec(f"{quiz}:{style}")).tasks
    for measure in ("acc", "acc_norm"):
        assert ours.measures[measure] == results[f"{measure},none"] == ours.outcomes[measure].mean()
        assert ours.outcomes[measure].tolist() == [sample[measure] for sample in samples]
    for given, sample in zip(ours.log_likelihoods, samples, strict=True):
        expected = [answer[0] for answer in sample["filtered_resps"]]
        np.testing.assert_allclose(given[: len(expected)], expected, rtol=1e-5)
        assert np.isnan(given[len(expected) :]).all()
    assert 0 < ours.measures["acc"] < 1


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_batch_size_changes_no_answer(masked, quiz, answered, batch_size):
    (first,) = answered.tasks
    (other,) = run_tasks(masked, _spec(str(quiz), batch_size=batch_size)).tasks
    np.testing.assert_allclose(other.log_likelihoods, first.log_likelihoods, rtol=1e-5)
    assert other.outcomes["acc"].tolist() == first.outcomes["acc"].tolist()
    assert other.questions.tolist() == first.questions.tolist()


def test_two_trials_of_one_replica_do_not_disturb_each_other(masked, quiz, answered):
    """Slots are threads on one frozen model and one tokenizer."""
    dense = MaskedModel(masked.frozen)
    expected = [found.tasks[0].log_likelihoods for found in (answered, run_tasks(dense, _spec(str(quiz))))]
    with ThreadPoolExecutor(2) as slots:
        found = list(slots.map(lambda model: run_tasks(model, _spec(str(quiz))), [masked, dense] * 2))
    for number, results in enumerate(found):
        np.testing.assert_allclose(results.tasks[0].log_likelihoods, expected[number % 2], rtol=1e-6)


def test_tasks_leave_the_model_as_it_was(masked, quiz):
    before = {name: tensor.clone() for name, tensor in masked.module.state_dict().items()}
    padding = masked.frozen.tokenizer.pad_token
    run_tasks(masked, _spec(str(quiz)))
    assert masked.frozen.unchanged()
    assert masked.frozen.tokenizer.pad_token == padding
    assert all(torch.equal(tensor, before[name]) for name, tensor in masked.module.state_dict().items())


def test_the_first_questions_alone(masked, quiz, answered):
    whole, some = answered.tasks[0], run_tasks(masked, _spec(str(quiz), questions=5)).tasks[0]
    assert some.questions.tolist() == whole.questions[:5].tolist()
    assert some.outcomes["acc"].tolist() == whole.outcomes["acc"][:5].tolist()


def test_the_built_in_questions_distinguish_the_dense_model_from_a_random_mask(masked):
    spec = _spec("builtin:word-order", questions=100, batch_size=16)
    right = run_tasks(masked, spec).metrics()["eval/word-order/acc"]
    dense = run_tasks(MaskedModel(masked.frozen), spec).metrics()["eval/word-order/acc"]
    assert dense > 0.75  # chance is 0.25
    assert right < dense - 0.2


def test_few_shot_examples_change_the_prompt_and_are_noted(masked, quiz, answered):
    none, two = answered, run_tasks(masked, _spec(str(quiz), few_shot=2))
    assert (none.tasks[0].few_shot, two.tasks[0].few_shot) == (0, 2)
    assert not np.allclose(none.tasks[0].log_likelihoods, two.tasks[0].log_likelihoods, equal_nan=True)
    again = run_tasks(masked, _spec(str(quiz), few_shot=2))
    np.testing.assert_array_equal(again.tasks[0].log_likelihoods, two.tasks[0].log_likelihoods)
    assert none.facts_line() != two.facts_line()


def test_facts_show_what_may_not_be_mixed(masked, quiz, answered, tmp_path):
    other = tmp_path / "quiz.jsonl"
    other.write_text("\n".join(quiz.read_text().splitlines()[1:]))
    variants = [
        _spec(str(quiz)),
        _spec(f"{quiz}:qa"),
        _spec(str(other)),
        _spec(str(quiz), batch_size=5),
        _spec(str(quiz), questions=39),
    ]
    lines = [run_tasks(masked, spec).facts_line() for spec in variants]
    assert len(set(lines)) == len(variants)
    assert answered.facts_line() == lines[0]
    facts = json.loads(lines[0])
    assert facts["harness"].startswith("lm_eval 0.4.")
    assert (facts["dtype"], facts["device"], facts["batch_size"]) == ("float32", "cpu", 4)
    assert facts["tasks"]["quiz"] | {"questions_digest": ""} == {
        "version": "cloze-1", "few_shot": 0, "questions": 40, "questions_digest": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("references", "message"),
    [
        pytest.param(
            ["arc_eazy"],
            "unknown task 'arc_eazy'; did you mean 'arc_easy'? expected a name that `lm-eval ls tasks` lists",
            marks=pytest.mark.slow,  # the harness reads thousands of files to know its names
        ),
        (["no-such.jsonl"], "task file 'no-such.jsonl' does not exist"),
        (["{quiz}", "{quiz}:qa"], "tasks: 'quiz' is asked for twice, the second time by"),
        pytest.param(["openbookqa"], "task 'openbookqa': its data could not be fetched", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_task_is_refused_in_one_line(quiz, references, message):
    with pytest.raises(SourceError) as refused:
        _check(_spec(*(reference.format(quiz=quiz) for reference in references)))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_answer_longer_than_the_model_reads_is_refused(masked, tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"question": "q", "choices": ["short", "word " * 300], "label": 0}))
    with pytest.raises(SourceError, match=r"an answer has \d+ tokens, the model reads at most 256"):
        run_tasks(masked, _spec(str(path)))
    with pytest.raises(SourceError, match=r"task 'long': an answer has \d+ tokens, the model reads at most 256"):
        _check(_spec(str(path)), tokenizer=masked.frozen.tokenizer)


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch, quiz):
    monkeypatch.setattr(tasks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"pip install 'nmlab\[tasks\]'"):
        _check(_spec(str(quiz)))
    _check(_spec())


def test_the_harness_is_imported_only_when_tasks_are_asked_for(elsewhere):
    """Another process imported the trial loop and the command line."""
    assert "nmlab.trials.trial.loop" in elsewhere["modules"]
    assert "lm_eval" not in elsewhere["modules"]


def test_a_trial_runs_tasks_on_its_mask_and_keeps_the_outcomes(replica, make_spec, listener, quiz, tmp_path):
    plain = make_spec("magnitude")
    evaluation = plain.evaluation.model_copy(update={"tasks": (str(quiz),), "questions": 12})
    spec = plain.model_copy(update={"evaluation": evaluation})
    result = run_trial(spec, replica=replica, folder=tmp_path, events=listener())
    assert spec.key != plain.key
    assert "tasks.npz" in result.artifacts
    with np.load(tmp_path / "tasks.npz", allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files}
    assert result.metrics["eval/quiz/acc"] == arrays["quiz/acc"].mean()
    assert result.metrics["eval/quiz/acc_norm"] == arrays["quiz/acc_norm"].mean()
    assert len(arrays["quiz/question"]) == len(arrays["quiz/log_likelihoods"]) == 12
    model = MaskedModel(replica.frozen)
    weights = {at.name: replica.frozen.module.get_submodule(at.name).weight for at in replica.frozen.layers}
    model.apply_masks({name: topn(weight.abs(), Pattern(2, 4)) for name, weight in weights.items()})
    (expected,) = run_tasks(model, evaluation).tasks
    np.testing.assert_array_equal(arrays["quiz/log_likelihoods"], expected.log_likelihoods)
    facts = json.loads(result.facts["tasks"])
    assert facts == json.loads((tmp_path / "trial.json").read_text())["tasks"]
    assert facts["tasks"]["quiz"]["questions"] == 12
