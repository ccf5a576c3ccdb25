"""What was meant by a value of the wrong type, and which file by a path that does not exist."""

import pytest

from nmlab.trials.contract.errors import SettingError
from nmlab.trials.contract.meant import instead, list_meant, number_meant, range_meant
from nmlab.trials.contract.near_files import file_hint
from nmlab.trials.contract.paper_names import OURS, our_names


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0,9", "0.9"),
        ("0.9", "0.9"),
        (",5", "0.5"),
        ("-1,5", "-1.5"),
        ("1e-3", "0.001"),
        ("1e-7", "1e-07"),
        ("10_000", "10000"),
        ("10,000", "10000"),
        ("1 000 000", "1000000"),
        ("0,900", "0.9"),
        ("1,5e3", "1500"),
        ("10k", "10000"),
        ("1.5M", "1500000"),
        ("50%", "0.5"),
        ("8.0", "8"),
        ("9" * 400, ""),
        ("30m", ""),
        ("ten", ""),
        ("1,2,3", ""),
        ("1:2", ""),
        ("nan", ""),
        ("", ""),
    ],
)
def test_a_number(text, number):
    assert number_meant(text) == number
    if number:
        float(number)


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        (3, "[3]"),
        ("wanda", "[wanda]"),
        ("a, b", "[a, b]"),
        ("0 1 2", "[0, 1, 2]"),
        ("(0, 1)", "[0, 1]"),
        ("0-3", "[0, 1, 2, 3]"),
        ("0..3", "[0, 1, 2, 3]"),
        ("range(3)", "[0, 1, 2]"),
        ("0-99", ""),
        ("3-0", ""),
        (None, "[]"),
        (True, ""),
        ({"a": 1}, ""),
    ],
)
def test_a_list(given, listed):
    assert list_meant(given) == listed


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ([2, 1], "; write [1, 2]"),
        (["0,1", "0,9"], "; write [0.1, 0.9]"),
        ("0.1 to 0.9", "; write [0.1, 0.9]"),
        ({"low": 1, "high": 2}, "; write [1, 2]"),
        ([1, 1], "; a single value goes under fixed"),
        ([1, 2.5], ""),
        ([1], ""),
        ([0, float("inf")], ""),
        ([True, 2], ""),
        (None, ""),
    ],
)
def test_a_range(given, hint):
    assert range_meant(given) == hint


@pytest.mark.parametrize(
    ("kind", "given", "hint"),
    [
        ("int_type", 8.0, "; write 8"),
        ("int_type", 8.5, ""),
        ("int_type", "8", "; write 8 without quotes"),
        ("int_type", "8.5", ""),
        ("float_type", "8,5", "; write 8.5"),
        ("bool_type", "yes", "; write true"),
        ("bool_parsing", "Off", "; write false"),
        ("bool_type", "perhaps", ""),
        ("string_type", 3, ""),
    ],
)
def test_what_to_write_instead(kind, given, hint):
    assert instead(kind, given) == hint


def test_names_of_papers_are_hyperparameters_of_some_method():
    from nmlab.trials.methods import registry

    known = {name for method in registry.names() for name in registry.get(method).config.model_fields}
    assert {ours for names in OURS.values() for ours in names} <= known
    assert not set(OURS) & known
    assert our_names("C") == our_names("c") == ("logit_magnitude",)
    assert our_names("tau", known={"tau_end"}) == ("tau_end",)
    assert our_names("alpha") == ()


def test_a_refused_setting_names_itself():
    from nmlab.trials.methods import registry

    for given, setting in (({"lr": 1}, "lr"), ({"steps": 0}, "steps")):
        with pytest.raises(SettingError) as refused:
            registry.get("maskpro").configure(given)
        assert (refused.value.method, refused.value.setting) == ("maskpro", setting)
    with pytest.raises(SettingError) as unknown:
        registry.get("maskpr")
    assert (unknown.value.method, unknown.value.setting) == ("maskpr", "method")


def test_a_file_beside(tmp_path):
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "corpus.txt").write_text("x")
    assert file_hint(tmp_path / "corpsu.txt") == f"; did you mean '{tmp_path}/corpus.txt'?"
    assert file_hint(tmp_path / "corpus.jsonl") == f"; did you mean '{tmp_path}/corpus.txt'?"
    assert file_hint(tmp_path / "model" / "tiny") == f"; did you mean '{tmp_path}/models/tiny'?"
    assert file_hint(tmp_path / "zzz.txt") == ""
    assert file_hint(tmp_path / "zzz" / "a" / "b") == f"; there is no folder '{tmp_path}/zzz'"
