"""`make` keeps the build of torch that is installed: the constraints it writes, and what pip makes of them."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[1] / "release" / "keep_torch.py"
NEWER = ("torch-2.14.1+cu130", "numpy-2.4.6", "triton-3.8.0", "nvidia_cudnn_cu13-9.2.0")
PINS = "# a comment\nnumpy==2.4.6\nnvidia-cudnn-cu13==9.1.0 ; sys_platform == 'linux'\ntorch==2.13.0\ntriton==3.7.1\n"


def wheel(folder, name, version, *, requires=()):
    """Write a wheel that holds nothing but metadata; return its path."""
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name.replace('_', '-')}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def python(tmp_path):
    """The Python of an empty environment."""
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    return place / "bin" / "python"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder of wheels: the torch of the constraints in three builds, a newer one for CUDA, and what they fix."""
    folder = tmp_path_factory.mktemp("wheels")
    wheel(folder, "torch", "2.13.0", requires=["triton==3.7.1; sys_platform == 'linux'"])
    wheel(folder, "torch", "2.13.0+cpu", requires=["numpy"])
    wheel(folder, "torch", "2.13.0+cu126", requires=["triton==3.7.1; sys_platform == 'linux'"])
    needs = ["numpy", "triton==3.8.0; sys_platform == 'linux'", "nvidia_cudnn-cu13 (==9.2.0)", "onnx==9; extra == 'x'"]
    wheel(folder, "torch", "2.14.1+cu130", requires=needs)
    for name, version in (("triton", "3.7.1"), ("triton", "3.8.0"), ("nvidia_cudnn_cu13", "9.2.0"), ("numpy", "2.4.6")):
        wheel(folder, name, version)
    return folder


@pytest.fixture
def put(python, wheels):
    """Return a function that puts packages into the environment as pip would, in no time."""

    def put(*names):
        (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
        for name in names:
            with zipfile.ZipFile(wheels / f"{name}-py3-none-any.whl") as archive:
                archive.extractall(packages)
                record = packages / f"{name}.dist-info" / "RECORD"
                record.write_text("".join(f"{path},,\n" for path in archive.namelist()))

    return put


@pytest.fixture
def pip(python, wheels):
    """Return a function that lets pip install into the environment, from the wheels only."""

    def install(*arguments):
        command = [sys.executable, "-m", "pip", "--python", python, "--isolated", "install", "--quiet"]
        places = ["--no-index", "--find-links", wheels, "--no-cache-dir", "--disable-pip-version-check"]
        done = subprocess.run([*command, *places, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return install


def constraints(python, tmp_path):
    """Return what the script prints in an environment, and what it says."""
    (tmp_path / "constraints.txt").write_text(PINS)
    done = subprocess.run(
        [python, SCRIPT, tmp_path / "constraints.txt"], capture_output=True, text=True, check=True, env={**os.environ}
    )
    return done.stdout, done.stderr


def installed(python):
    code = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"
    return set(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_without_torch_the_constraints_stay(python, tmp_path):
    assert constraints(python, tmp_path) == (PINS, "")


@pytest.mark.parametrize("build", ["2.13.0", "2.13.0+cpu", "2.13.0+cu126"])
def test_a_build_of_the_same_release_stays(python, put, pip, tmp_path, build):
    put(f"torch-{build}")
    text, said = constraints(python, tmp_path)
    assert f"torch=={build}\n" in text
    assert said == ""
    (tmp_path / "kept.txt").write_text(text)
    pip("--constraint", str(tmp_path / "kept.txt"), "torch>=2.9", "numpy", "triton>=3.6")
    assert {f"torch=={build}", "numpy==2.4.6", "triton==3.7.1"} <= installed(python)


def test_a_newer_release_stays_with_what_it_fixes(python, put, pip, tmp_path):
    put(*NEWER)
    text, said = constraints(python, tmp_path)
    kept = {"torch==2.14.1+cu130", "triton==3.8.0", "nvidia-cudnn-cu13==9.2.0"}
    assert set(text.splitlines()) == {"# a comment", "numpy==2.4.6", *kept}
    assert said == "keeps torch 2.14.1+cu130, which is not the version in constraints.txt\n"
    (tmp_path / "kept.txt").write_text(text)
    pip("--constraint", str(tmp_path / "kept.txt"), "torch>=2.9", "numpy", "triton>=3.6")
    assert "torch==2.14.1+cu130" in installed(python)


def test_without_the_script_pip_would_replace_it(python, put, pip, tmp_path):
    """What the script is for: the constraints alone make pip take the release that they name."""
    put(*NEWER)
    (tmp_path / "pins.txt").write_text(PINS)
    pip("--constraint", str(tmp_path / "pins.txt"), "torch")
    assert "torch==2.14.1+cu130" not in installed(python)


def test_the_line_of_the_documentation_replaces_another_build(python, put, pip):
    """Named without its build, a release that is installed in another build counts as there."""
    put("torch-2.13.0+cpu", "numpy-2.4.6")
    pip("torch==2.13.0")
    assert "torch==2.13.0+cpu" in installed(python)
    pip("torch==2.13.0+cu126")
    assert "torch==2.13.0+cu126" in installed(python)
