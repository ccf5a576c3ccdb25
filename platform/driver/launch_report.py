"""The report of a launch that has ended, in its folder and in MLflow."""

import logging
from dataclasses import dataclass
from pathlib import Path

from nmlab.platform.driver.start_launch import ReadyLaunch
from nmlab.platform.launches.endings import LaunchEnding
from nmlab.platform.tracking import MlflowStore
from nmlab.platform.tracking.launch_page import Findings, best_means, describe_launch
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import open_store
from nmlab.reports.report import write_report
from nmlab.trials.contract.run_artifacts import REPORT_FOLDER

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LaunchReport:
    """A report that was written: its page, and its findings in a few sentences."""

    html: Path
    headline: tuple[str, ...]


def report_launch(ready: ReadyLaunch, result: LaunchEnding) -> LaunchReport | None:
    """Write the report of a launch, attach it to its MLflow run, and describe the launch there.

    Returns None, and writes nothing, if no trial has finished, MLflow lacks records, or a signal ended the launch.
    """
    if not result.finished_trials or result.undelivered or result.interrupted:
        return None
    study, launch = ready.plan.study.name, ready.launch
    report = write_report(
        study,
        tracking_uri=ready.tracking_uri,
        output=launch.report_folder,
        launch=launch.name,
        mixed=True,  # a launch resumed with other versions is one table; the report says what differs
    )
    store = MlflowStore(study, launch=launch.name, uri=ready.tracking_uri)
    store.attach(launch.report_folder, folder=REPORT_FOLDER)
    findings = Findings(report.headline, report.html.name, best_means(report.winners))
    try:
        describe_launch(open_store(ready.tracking_uri), study=study, launch=launch.name, findings=findings)
    except ReportError as error:  # the report is there; only MLflow's own pages say less
        _log.warning("MLflow's page of the launch lacks its note: %s", error)
    return LaunchReport(report.html, tuple(report.headline))
