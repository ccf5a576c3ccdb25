"""Settings of every test: one torch thread, because more of them compete for two cores, and no Hugging Face hub."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

torch.set_num_threads(1)

import shutil  # noqa: E402 (torch's threads are set before anything else)
import tomllib  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

THIRTEENTH = Path(__file__).parent / "thirteenth"


@pytest.fixture(scope="session")
def thirteenth(tmp_path_factory) -> Path:
    """A folder with the package of ``tests/thirteenth`` as pip installs it; put it on the path to use the package."""
    folder = tmp_path_factory.mktemp("installed")
    project = tomllib.loads((THIRTEENTH / "pyproject.toml").read_text())["project"]
    shutil.copy(THIRTEENTH / "nmlab_thirteenth.py", folder)
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata)
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder
