"""The Kubernetes manifests: fields that KubeRay requires, versions that fit the package, a command that we take."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from nmlab.platform.cli import verbs
from nmlab.platform.planning.study_plan import check_settings
from nmlab.search_spaces import loader

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = ROOT / "examples" / "kuberay"


@pytest.fixture(scope="module")
def cluster():
    return yaml.safe_load((MANIFESTS / "raycluster.yaml").read_text())


@pytest.fixture(scope="module")
def job():
    return yaml.safe_load((MANIFESTS / "rayjob.yaml").read_text())


def pods(cluster):
    spec = cluster["spec"]
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def containers(cluster):
    return [container for pod in pods(cluster) for container in pod["containers"]]


def test_required_fields(cluster, job):
    """As the schemas of ray.io/v1 require them."""
    for manifest, kind in ((cluster, "RayCluster"), (job, "RayJob")):
        assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", manifest["metadata"]["name"])
    assert {"rayStartParams", "template"} <= set(cluster["spec"]["headGroupSpec"])
    for group in cluster["spec"]["workerGroupSpecs"]:
        assert {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"} <= set(group)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for container in containers(cluster):
        assert {"name", "image", "resources"} <= set(container)
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_versions_are_those_of_the_package(cluster):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (ray,) = [name for name in project["dependencies"] if name.startswith("ray[")]
    least = re.search(r">=([\d.]+)", ray)[1]
    version = cluster["spec"]["rayVersion"]
    assert version.startswith(least)
    python = re.search(r">=3\.(\d+)", project["requires-python"])[1]
    for container in containers(cluster):
        found = re.fullmatch(r".+:ray([\d.]+)-py3(\d+)", container["image"])
        assert found[1] == version
        assert int(found[2]) >= int(python)
    (constraint,) = re.findall(r"^ray==([\d.]+)", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert version == constraint


def test_the_job_finds_the_cluster(cluster, job):
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}


def test_every_pod_has_the_token_and_the_folder(cluster, job):
    words = shlex.split(job["spec"]["entrypoint"])
    results = words[words.index("--results") + 1]
    for pod in pods(cluster):
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= {variable["name"] for variable in container["env"]}
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            (place,) = [path for path in mounts if results.startswith(f"{path}/")]
            assert mounts[place] in volumes
    assert words[words.index("--tracking-uri") + 1].startswith(f"sqlite:///{results}/")


def test_our_command_line_takes_the_jobs_command(job):
    program, verb, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert program == "nmlab"
    command = verbs.load(verb)
    with command.make_context(verb, list(arguments)) as context:
        given = context.params
    assert given["address"] == "auto"
    study = loader.load(given["study"], overrides=list(given["overrides"]))
    check_settings(study)
    assert study.replica.count == 2
