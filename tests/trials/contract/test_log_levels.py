import logging
import threading

import pytest

from nmlab.trials.contract.log_levels import at_least


@pytest.fixture
def logger():
    logger = logging.getLogger("nmlab_test_levels")
    logger.setLevel(logging.INFO)
    return logger


def test_a_logger_gets_its_level_back_after_an_error_too(logger):
    seen = []

    @at_least(logging.ERROR, logger.name)
    def fail():
        seen.append(logger.level)
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (seen, logger.level) == ([logging.ERROR], logging.INFO)


def test_overlapping_blocks_of_two_threads_leave_nothing_behind(logger):
    inside, go_on = threading.Event(), threading.Event()

    def other():
        with at_least(logging.ERROR, logger.name):
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=other)
    with at_least(logging.ERROR, logger.name):
        thread.start()
        inside.wait(10)
    assert logger.level == logging.ERROR
    go_on.set()
    thread.join()
    assert logger.level == logging.INFO
