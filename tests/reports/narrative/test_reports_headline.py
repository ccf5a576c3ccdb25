"""The sentences a reader sees first, and the warnings."""

import pytest

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.analysis.evaluation_check import EvaluationCheck, check_evaluations
from nmlab.reports.narrative.headline import headline_of
from nmlab.reports.narrative.provenance import provenance_of, warnings_of
from nmlab.reports.narrative.verdicts import verdict_sentences
from nmlab.reports.read.collect import collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.evaluations import read_evaluations


def check_of(store, trials):
    return check_evaluations(read_evaluations(store, run_ids=[trial.run_id for trial in trials]), trials=trials)


def headline(store, study):
    runs = collect(store, study=study)
    return headline_of(runs, configurations=configurations_of(runs))


def test_small_study(store, configurations):
    key = next(item.key for item in configurations if item.settings.get("alpha") == 0.99)
    assert headline(store, "maskpro-alpha") == (
        f"Best of 5 configurations: maskpro with alpha=0.99 ({key}) reaches perplexity 80.0 ± 5.0 (3 seeds); tests "
        "at 5%, corrected after Holm, find it better than both others that ran to the end.",
        "That is 40.00 lower (better) than its own initial mask (wanda, 120.00). Paired over 3 seeds, the "
        "difference is −40.0 [−42.5, −37.5]; the 95% interval excludes zero.",
        "It is 40.00 higher than the dense model's 40.00 (one seed) and 40.00 lower (better: p = 0.001, 3 seeds) than "
        "the wanda mask's 120.00 (one seed).",
        "18 of 18 planned runs recorded: 16 finished, 1 diverged, 1 failed.",
        "The best of 5 configurations was chosen on the same evaluation text that is reported here, so its mean "
        "is optimistic. A new text or new seeds would show by how much.",
    )


def test_one_configuration_on_one_seed(writer, store, trial):
    writer.launch("single", [trial("maskpro", 0, 70.0, 80.0, residual=[0.0])], name="single-1")
    first, second, third = headline(store, "single")
    assert first.startswith("The only configuration, maskpro (")
    assert first.endswith("), reaches perplexity 70.00 (one seed).")
    assert second == "That is 10.00 lower than its own initial mask (80.00) (one seed, so no interval)."
    assert third == "1 of 1 planned run recorded: 1 finished."


def test_a_mask_that_got_worse_is_called_worse(writer, store, trial):
    trials = [trial("maskpro", seed, 90.0 + seed, 80.0, residual=[0.0]) for seed in range(3)]
    writer.launch("worse", trials, name="worse-1")
    assert "11.00 higher (worse) than its own initial mask" in headline(store, "worse")[1]


def test_an_interval_that_holds_zero_says_so(writer, store, trial):
    trials = [trial("maskpro", seed, value, 80.0, residual=[0.0]) for seed, value in enumerate((79.0, 81.0, 79.5))]
    writer.launch("unsure", trials, name="unsure-1")
    assert headline(store, "unsure")[1].endswith("the 95% interval does not exclude zero.")


def test_a_mask_that_did_not_change_is_not_called_worse(writer, store, trial):
    trials = [trial("maskpro", seed, 80.0, 80.0, {"initial_mask": "wanda"}, residual=[0.0]) for seed in range(3)]
    writer.launch("still", trials, name="still-1")
    assert headline(store, "still")[1] == (
        "Training gained nothing: its own initial mask (wanda, 80.00) has the same perplexity."
    )
    analysis = analyse(store, runs=collect(store, study="still"))
    assert ", which is equal" in verdict_sentences(analysis)[0]


def test_no_searched_configuration_finished(writer, store, trial):
    trials = [trial("wanda", 0, 50.0, role="baseline"), trial("maskpro", 0, None, status="diverged")]
    writer.launch("search-lost", trials, name="search-lost-1")
    assert headline(store, "search-lost")[0].startswith("No searched configuration finished; best baseline: wanda (")


def test_only_baselines_and_only_dense(writer, store, trial):
    dense = trial("dense", 0, 40.0, role="baseline")
    writer.launch("rules", [dense, trial("wanda", 0, 50.0, role="baseline")], name="rules-1")
    first, second, _ = headline(store, "rules")
    assert first.startswith("Best mask by its mean: wanda (")
    assert second == "It is 10.00 higher than the dense model's 40.00 (one seed)."
    writer.launch("dense-alone", [dense], name="dense-alone-1")
    assert headline(store, "dense-alone")[0] == "No mask has a finished run; dense has perplexity 40.00 (one seed)."


def test_one_sentence_for_each_pattern(writer, store, trial):
    trials = [
        trial("maskpro", seed, value + seed, 99.0, residual=[0.0], pattern=pattern)
        for pattern, value in (("2:4", 80.0), ("4:8", 60.0))
        for seed in range(2)
    ]
    writer.launch("each-pattern", trials, name="each-pattern-1")
    sentences = headline(store, "each-pattern")
    assert sentences[0].startswith("2:4: The only configuration, maskpro (")
    assert sentences[1].startswith("4:8: The only configuration, maskpro (")
    assert "18.50 lower (better) than its own initial mask" in sentences[0]
    assert 2 <= len(sentences) <= 5


def test_patterns_that_have_no_sentence_of_their_own_are_named(writer, store, trial):
    patterns = ("1:4", "2:4", "2:8", "4:8", "8:16", "9:16")
    trials = [trial("maskpro", 0, 80.0, 99.0, residual=[0.0], pattern=pattern) for pattern in patterns]
    writer.launch("many-patterns", trials, name="many-patterns-1")
    sentences = headline(store, "many-patterns")
    assert [sentence.partition(" ")[0] for sentence in sentences[:4]] == ["1:4:", "2:4:", "2:8:", "4:8:"]
    assert sentences[4] == "The tables also have 2 other groups: 8:16; 9:16."


def test_the_best_that_lacks_a_seed_says_so(writer, store, trial):
    trials = [trial("maskpro", 0, 70.0, 80.0, residual=[0.0]), trial("maskpro", 1, None, status="oom")]
    writer.launch("lacks", trials, name="lacks-1")
    sentences = headline(store, "lacks")
    assert sentences[0].endswith("; only 1 of its 2 runs finished.")
    assert sentences[-1] == "2 of 2 planned runs recorded: 1 finished, 1 failed."


def warned(store, study):
    runs = collect(store, study=study)
    return warnings_of(runs, check=check_of(store, runs.trials))


def test_a_clean_finished_study_has_no_warning(store, runs):
    finished = [trial for trial in runs.trials if trial.is_finished]
    assert warnings_of(runs, check=check_of(store, finished)) == ()


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"nmlab.git_dirty": "true"}, "dirty tree"),
        ({"nmlab.git_dirty": "unknown"}, "not known whether the code had uncommitted changes"),
        ({"nmlab.frozen_weights": "mismatch"}, "frozen weights CHANGED"),
        ({"nmlab.frozen_weights": "unverified"}, "frozen weights were not checked"),
        ({"nmlab.status": "stopped"}, "The launch is stopped, not finished"),
        ({"nmlab.planned": "12"}, "Planned: 12 runs; recorded: 1."),
    ],
)
def test_what_a_reader_must_know(writer, store, trial, tags, message):
    study = f"warned-{'-'.join(tags.values())}"
    writer.launch(study, [trial("wanda", 0, 50.0, role="baseline")], name="w-1", tags=tags)
    (warning,) = warned(store, study)
    assert message in warning


def test_runs_that_do_not_match_each_other(writer, store, trial):
    other = {"nmlab.git_commit": "f" * 40, "nmlab.model_digest": "sha256:zz", "nmlab.git_dirty": "true"}
    trials = [
        trial("wanda", 0, 50.0, role="baseline"),
        trial("magnitude", 0, 60.0, role="baseline", tags=other),
        trial("maskpro", 0, 55.0, 60.0, residual=[0.0], status="stopped", reason="time limit"),
    ]
    writer.launch("mixed", trials, name="mixed-1")
    found = " ".join(warned(store, "mixed"))
    assert "dirty tree" in found
    assert "The runs come from 2 different commits: 0123456789ab, ffffffffffff." in found
    assert "Left out of all means, because stopped or not ended: 1 run." in found


def test_warnings_from_the_check(runs):
    size = {"windows": 8, "tokens": 8, "words": 8}
    check = EvaluationCheck(("a",), ("b",), ("c",), **size, is_same_text=False, uncheckable=("d", "e"))
    found = " ".join(warnings_of(runs, check=check))
    assert "do not give the recorded perplexity or accuracy in 1 run (first: b)" in found
    assert "not evaluated on the same windows" in found
    assert (
        "1 of 5 compared runs kept no per-window losses (evaluation.npz) and could not be checked (first: c)." in found
    )
    assert "2 of 5 compared runs recorded no perplexity or accuracy that follows from what they kept" in found
    assert "No compared run kept" in " ".join(warnings_of(runs, check=None))


def test_provenance_names_code_model_data_and_hardware(store, runs):
    finished = [trial for trial in runs.trials if trial.is_finished]
    sections = provenance_of(runs, check=check_of(store, finished))
    facts = {name: value for section in sections for name, value in section.facts}
    assert facts["commit"] == "0123456789abcdef0123456789abcdef01234567"
    assert facts["uncommitted changes"] == "no"
    assert (facts["torch"], facts["model digest"], facts["data digest"]) == ("2.13.0", "sha256:aa11", "sha256:bb22")
    assert facts["cpu"] == "2 cores"
    assert facts["frozen weights"] == "verified: byte-identical after the study"
    assert (facts["runs planned"], facts["runs finished"], facts["runs diverged"]) == ("18", "16", "1")
    assert facts["perplexity recomputed"] == "16 of 16 compared runs agree with their per-window losses"
    assert facts["evaluation text"] == "12 windows, 1,200 tokens, 720 words"
    assert facts["search.metric"] == "eval/perplexity"


@pytest.mark.parametrize(("text", "message"), [("{broken", "is not JSON"), ("[1]", "expected a JSON object")])
def test_a_broken_tag_is_named(writer, store, trial, text, message):
    study = f"broken-{len(text)}"
    trials = [trial("wanda", 0, 50.0, role="baseline")]
    writer.launch(study, trials, name="b-1", tags={"nmlab.versions": text})
    with pytest.raises(ReportError, match=f"tag 'nmlab.versions' of run .*{message}"):
        provenance_of(collect(store, study=study), check=None)


def test_a_configuration_that_breaks_a_constraint_is_counted_and_not_the_best(writer, store, trial):
    limit = {"search.constraints.memory/peak_bytes.max": "2000000000.0"}
    trials = [
        trial("maskpro", seed, value + seed, params={"alpha": alpha}, metrics={"memory/peak_bytes": memory + seed})
        for alpha, value, memory in (("0.9", 50.0, 2e9), ("0.95", 60.0, 1e9), ("0.99", 90.0, 1e9))
        for seed in range(3)
    ]
    writer.launch("limited", trials, name="limited-1", params=limit)
    first = headline(store, "limited")[0]
    assert "maskpro with alpha=0.95" in first
    assert first.endswith(
        "1 of 3 configurations breaks a constraint (memory/peak_bytes at most 2e+09) and cannot be the best."
    )


def test_where_all_break_a_constraint_no_mask_is_named(writer, store, trial):
    limit = {"search.constraints.memory/peak_bytes.max": "5.0"}
    trials = [trial("maskpro", 0, 50.0, metrics={"memory/peak_bytes": 6.0})]
    writer.launch("all-broken", trials, name="all-broken-1", params=limit)
    assert headline(store, "all-broken")[0] == (
        "No mask that finished keeps the constraints. 1 of 1 configuration breaks a constraint "
        "(memory/peak_bytes at most 5) and cannot be the best."
    )
