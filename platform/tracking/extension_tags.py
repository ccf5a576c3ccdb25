"""What the run of a launch says of the versions of its study: how many there are, and what each changed."""

from collections.abc import Sequence

from nmlab.platform.launches.launch import StudyVersion
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.search_spaces.schema.extension import change_lines
from nmlab.trials.contract import run_tags

_TEXT = 5000


def extension_tags(plan: LaunchPlan, versions: Sequence[StudyVersion]) -> dict[str, str]:
    """Return the tags of a launch's run; none if its study has one version."""
    if not plan.earlier:
        return {}
    studies = (*plan.earlier, plan.study)
    texts = {
        run_tags.extension_tag(version.number): f"{version.made or 'at an unknown time'}, {version.maker}: "
        + "; ".join(change_lines(studies[version.number - 2], studies[version.number - 1]))
        for version in versions[1:]
    }
    return {run_tags.STUDY_VERSIONS: str(len(studies)), **{name: text[:_TEXT] for name, text in texts.items()}}
