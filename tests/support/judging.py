"""Verdicts on claims, from configurations that need no store."""

from nmlab.reports.analysis.claims import Evidence, Judgement, checks_of
from nmlab.reports.analysis.claims.claim import PaperClaim
from nmlab.reports.analysis.claims.judge import corrected
from nmlab.reports.read.frame import initial_name

METRIC = "eval/perplexity"


def judge(test, configurations, *, overlaps=None):
    """Return the verdict on one test, corrected for its own comparisons."""
    evidence = Evidence(configurations, METRIC, {}, overlaps or {})
    claim = PaperClaim(id="x", paper="susi", items=("susi/table-1",), says="x", scale="weak", test=test)
    return corrected([Judgement(claim, checks_of(test, evidence=evidence))])[0]


def trained(configuration, values, **settings):
    item = configuration(values, **settings)
    object.__setattr__(item, "trials", item.trials.assign(**{initial_name(METRIC): [100.0] * len(values)}))
    return item


def with_metric(item, name, values):
    object.__setattr__(item, "trials", item.trials.assign(**{name: values}))
    item.__dict__.pop("finished", None)
    return item
