"""The page over all studies."""

import pytest

from nmlab.reports.index import write_index
from nmlab.reports.read.errors import ReportError


@pytest.fixture(scope="module")
def own(tmp_path_factory, store_writer, trial):
    """A store of its own with one good study, one without a finished run, and an experiment that is not a study."""
    folder = tmp_path_factory.mktemp("index")
    writer = store_writer(folder)
    trials = [
        trial("maskpro", seed, 70.0 + seed, 99.0, {"alpha": alpha}, residual=[0.0, -0.1])
        for alpha in ("0.9", "0.99")
        for seed in range(2)
    ]
    writer.launch("good", [*trials, trial("wanda", 0, 90.0, role="baseline")], name="good-1",
                  params={"answers": "Does it work?"})  # fmt: skip
    writer.launch("lost", [trial("maskpro", 0, None, status="failed", reason="x")], name="lost-1")
    writer.client.create_experiment("somebody else's")
    return writer.uri


@pytest.mark.usefixtures("undrawn")
def test_the_page_links_every_report_and_names_studies_without_one(own, tmp_path):
    page, entries = write_index(tracking_uri=own, output=tmp_path / "reports")
    text = page.read_text()
    assert 'href="good/report.html"' in text
    assert (page.parent / "good" / "report.html").is_file()
    assert "Does it work?" in text
    assert [entry.study for entry in entries] == ["good", "lost"]
    assert "has no finished run" in entries[1].problem
    assert "has no finished run" in text
    assert "somebody else" not in text
    assert not (page.parent / "lost").exists()
    markdown = page.with_suffix(".md").read_text()
    assert "[good](good/report.html)" in markdown
    assert "4 of 5" not in markdown
    assert "5 of 5" in markdown


@pytest.mark.usefixtures("undrawn")
def test_it_can_be_written_again(own, tmp_path):
    first, _ = write_index(tracking_uri=own, output=tmp_path)
    before = [line for line in first.read_text().splitlines() if "Report written" not in line]
    again, _ = write_index(tracking_uri=own, output=tmp_path)
    assert [line for line in again.read_text().splitlines() if "Report written" not in line] == before


def test_an_empty_store_is_a_one_line_error(new_store, tmp_path):
    with pytest.raises(ReportError, match="holds no study"):
        write_index(tracking_uri=new_store(tmp_path), output=tmp_path / "reports")
    assert not (tmp_path / "reports").exists()
