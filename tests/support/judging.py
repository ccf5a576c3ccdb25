"""Verdicts on claims, from configurations that need no store."""

from measured import with_metrics

from nmlab.reports.analysis.claims import Evidence, Judgement, checks_of
from nmlab.reports.analysis.claims.claim import PaperClaim
from nmlab.reports.analysis.claims.judge import corrected
from nmlab.trials.contract.metrics import initial_name

METRIC = "eval/perplexity"


def judge(test, configurations, *, overlaps=None):
    """Return the verdict on one test, corrected for its own comparisons."""
    evidence = Evidence(configurations, METRIC, {}, overlaps or {})
    claim = PaperClaim(id="x", paper="susi", items=("susi/table-1",), says="x", scale="weak", test=test)
    return corrected([Judgement(claim, checks_of(test, evidence=evidence))])[0]


def trained(configuration, values, **settings):
    return with_metrics(configuration(values, **settings), {initial_name(METRIC): 100.0})


def with_metric(item, name, values):
    return with_metrics(item, {name: values})
