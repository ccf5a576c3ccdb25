"""A pytest plugin that shows the processor seconds of each test file, user and system, on any machine and at any load.

    PYTHONPATH=tests/support .venv/bin/pytest -p cpu_by_file -n 2 --dist loadfile

Those of child processes count once they were waited for; of Ray's processes, which others wait for, only a part does.
"""

import resource
from collections import Counter

import pytest

_SHOWN = 30
_last = [0.0]


def _seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    now = _seconds()
    report.cpu_seconds, _last[0] = now - _last[0], now
    return report


def pytest_sessionstart(session):
    _last[0] = _seconds()


def pytest_terminal_summary(terminalreporter):
    found: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            found[getattr(report, "nodeid", "").partition("::")[0]] += getattr(report, "cpu_seconds", 0.0)
    terminalreporter.section(f"processor seconds: {sum(found.values()):.0f}")
    for path, seconds in found.most_common(_SHOWN):
        terminalreporter.write_line(f"{seconds:8.1f}  {path}")
