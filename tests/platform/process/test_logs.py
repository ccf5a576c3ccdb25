import logging
import subprocess
import sys

import pytest

import nmlab.platform.process.logs as logs


@pytest.fixture
def logger():
    """A child of nmlab's logger; the handler of the command line is taken off afterwards."""
    root = logging.getLogger(logs.ROOT)
    before = list(root.handlers)
    yield logging.getLogger(f"{logs.ROOT}.platform.test")
    root.handlers[:] = before


def test_a_library_says_nothing_by_itself():
    code = "import logging, nmlab; logging.getLogger('nmlab.platform').warning('a word')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_program_gets_the_records_through_its_own_handlers(caplog, logger):
    with caplog.at_level(logging.INFO, logger=logs.ROOT):
        logger.info("took %d", 3)
    assert caplog.messages == ["took 3"]


def test_the_command_line_shows_warnings_once_and_in_one_line(logger, capfd):
    logs.show_log()
    logs.show_log()
    logger.info("not shown")
    logger.warning("a store at %s", "postgresql://me:secret@host/db\x1b[2J")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("nmlab: a store at postgresql://")
    assert "secret" not in err
    assert "\x1b" not in err
    assert err.count("\n") == 1


def test_quiet_leaves_errors_alone(logger, capfd):
    logs.show_log()
    assert logs.quieten(True) is True
    logger.warning("not shown")
    logger.error("shown")
    assert capfd.readouterr().err == "nmlab: shown\n"


def test_without_quiet_nothing_changes(logger, capfd):
    logs.show_log()
    assert logs.quieten(False) is False
    logger.warning("shown")
    assert capfd.readouterr().err == "nmlab: shown\n"
