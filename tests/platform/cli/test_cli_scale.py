"""`nmlab scale` at the command line: what it refuses in one line, and where space and reasons go."""

import json

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from nmlab.platform import cli

TAGS = {"nmlab.kind": "trial", "nmlab.role": "search", "nmlab.status": "finished"}


@pytest.fixture
def nmlab(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        return exit_.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """A store with one study of three logit magnitudes and two learning rates on 6656 groups."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('scale') / 'nmlab.db'}"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("small")
    parent = client.create_run(experiment, tags={"nmlab.kind": "study", "nmlab.launch": "small-1"}).info.run_id
    for number, (magnitude, rate) in enumerate((c, r) for c in (3.0, 4.0, 5.0) for r in (0.3, 1.0)):
        own = {
            "mlflow.parentRunId": parent,
            "nmlab.trial_key": f"{number:016x}",
            "nmlab.configuration": f"{number:08x}",
        }
        run = client.create_run(experiment, tags={**TAGS, **own}).info.run_id
        setting = {"method": "maskpro", "pattern": "2:4", "seed": 0, "steps": 100, "model.source": "builtin:tiny"}
        setting |= {"logit_magnitude": magnitude, "learning_rate": rate}
        loss = 80 + 5 * (magnitude - 4) ** 2 + (rate - 1) ** 2
        points = [
            ("eval/perplexity", 120.0, 0),
            ("eval/perplexity", loss, 100),
            ("cost/trainable_params", 26624.0, 100),
        ]
        client.log_batch(
            run,
            params=[Param(name, str(value)) for name, value in setting.items()],
            metrics=[Metric(name, value, 0, step) for name, value, step in points],
        )
    return uri


def test_the_space_is_printed_alone_and_its_reasons_beside_it(nmlab, uri):
    code, out, err = nmlab("scale", "small", "--groups", 10**6, "--tracking-uri", uri)
    assert code == 0
    assert yaml.safe_load(out).keys() == {"fixed", "space", "search"}
    assert "ASSUMED" in err
    code, out, _ = nmlab("scale", "small", "--groups", 10**6, "--tracking-uri", uri, "--json")
    found = json.loads(out)
    assert (code, found["proposal"]["groups"]) == (0, 10**6)
    assert yaml.safe_load(found["space"])["search"]["initial_points"] == found["proposal"]["points"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("small",), "either --groups N or --model FOLDER"),
        (("smal", "--groups", "10"), "no launch 'smal' in sqlite"),
        (("small", "--model", "nowhere"), "can't be read"),
    ],
)
def test_bad_input_is_one_line(nmlab, uri, arguments, message):
    code, out, err = nmlab("scale", *arguments, "--tracking-uri", uri)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
