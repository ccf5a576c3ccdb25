"""The journal of a search in optuna-dashboard: the package's own server opens it and shows readable names."""

import io
import json

import optuna_dashboard
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nmlab.platform.search.strategies import OptunaStrategy
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.platform.testing import study_of
from nmlab.platform.testing.searcher_conformance import RANGES

pytestmark = pytest.mark.filterwarnings("ignore")  # those of another package
MEMORY = "memory/peak_bytes"


def answer(app, path):
    """Return what the server answers to a GET, as JSON."""
    status = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    body = b"".join(app(environ, lambda line, headers, *rest: status.append(line)))
    assert status[0].startswith("200"), (path, status, body)
    return json.loads(body)


@pytest.fixture
def app(tmp_path):
    """The server over the journal of a search of three configurations, of which the second breaks a constraint."""
    study = study_of("tpe", space=RANGES, samples=3, more=f"constraints: {{{MEMORY}: {{max: 2e9}}}}")
    strategy = OptunaStrategy(study, journal=tmp_path / "optuna.journal")
    for number in range(3):
        proposal = strategy.next()
        attributes = {"configuration": f"0a1b2c3{number}", "seed 0: validation/perplexity": 20.0 + number}
        excess = 5e8 if number == 1 else -1e9
        strategy.tell(proposal.number, Outcome([20.0 + number], constraints={MEMORY: excess}, attributes=attributes))
    return optuna_dashboard.wsgi(JournalStorage(JournalFileBackend(str(tmp_path / "optuna.journal"))))


def test_the_dashboard_shows_the_study_under_its_name(app):
    (summary,) = answer(app, "/api/studies")["study_summaries"]
    assert (summary["study_name"], summary["directions"]) == ("quickstart", ["minimize"])


def test_the_dashboard_shows_parameters_values_and_attributes_of_every_configuration(app):
    (summary,) = answer(app, "/api/studies")["study_summaries"]
    detail = answer(app, f"/api/studies/{summary['study_id']}")
    assert detail["objective_names"] == ["validation/perplexity"]
    trials = detail["trials"]
    assert [trial["values"] for trial in trials] == [[20.0], [21.0], [22.0]]
    assert all({"learning_rate", "masks_per_step"} <= {own["name"] for own in trial["params"]} for trial in trials)
    attributes = [{own["key"]: own["value"] for own in trial["user_attrs"]} for trial in trials]
    assert [own["configuration"] for own in attributes] == ["0a1b2c30", "0a1b2c31", "0a1b2c32"]
    assert [float(own["seed 0: validation/perplexity"]) for own in attributes] == [20.0, 21.0, 22.0]
