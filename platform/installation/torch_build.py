"""Which build of torch is installed (CPU, CUDA or ROCm), and whether it can use the NVIDIA GPUs of this machine.

Builds differ in what they can run on and have the same release number, so an installation that works may still leave a
GPU unused. The driver must be as new as the CUDA release of the build [1]_, and a build has kernels for some
generations of GPUs only.

.. [1] NVIDIA, CUDA Compatibility: minor version compatibility.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.platform.installation.requirements import Verdict

_OLDEST_DRIVER = {12: 525, 13: 580}
"""The oldest driver for any release of a major version of CUDA."""
BUILDS = {12: "cu126", 13: "cu130"}
"""The builds that torch is published as for these, named as its package indexes are."""
INDEX = "https://download.pytorch.org/whl"


class NvidiaSmiError(RuntimeError):
    """The command `nvidia-smi` is there but shows no GPU; the text is its answer."""


@dataclass(frozen=True)
class NvidiaGpu:
    """A GPU that the NVIDIA driver shows, and the driver's version, for example "580.65.06"."""

    name: str
    driver: str

    @property
    def driver_release(self) -> int:
        """The first part of the driver's version, by which drivers are compared with releases of CUDA."""
        return int(self.driver.partition(".")[0])


@dataclass(frozen=True)
class UsableGpu:
    """A GPU that torch can reach, with its compute capability, for example (9, 0)."""

    name: str
    capability: tuple[int, int]


@dataclass(frozen=True)
class TorchBuild:
    """The installed torch: its version, the release of CUDA or ROCm it is built for, and the GPUs it reaches.

    ``architectures`` are those it holds kernels for, as torch names them ("sm_90", "compute_120"). torch lists them
    only where it reaches a GPU.
    """

    version: str
    cuda: str | None = None
    rocm: str | None = None
    gpus: tuple[UsableGpu, ...] = ()
    architectures: tuple[str, ...] = ()

    @classmethod
    def installed(cls) -> "TorchBuild":
        """Return the build that this process imports."""
        import torch

        is_usable = torch.cuda.is_available()
        numbers = range(torch.cuda.device_count()) if is_usable else ()
        gpus = tuple(UsableGpu(torch.cuda.get_device_name(i), torch.cuda.get_device_capability(i)) for i in numbers)
        architectures = tuple(torch.cuda.get_arch_list()) if is_usable else ()
        return cls(torch.__version__, torch.version.cuda, torch.version.hip, gpus, architectures)

    def has_kernels_for(self, capability: tuple[int, int]) -> bool:
        """Return whether the build runs on a GPU of this compute capability.

        Compiled kernels ("sm") run on GPUs of the same major version and at least the minor one; intermediate code
        ("compute") is compiled by the driver for any GPU at least as new.
        """
        for architecture in self.architectures:
            kind, _, number = architecture.partition("_")
            digits = number.rstrip("af")  # suffixes of variants such as sm_90a
            built = int(digits[:-1]), int(digits[-1])
            if built <= capability and (kind == "compute" or built[0] == capability[0]):
                return True
        return False


def nvidia_gpus() -> list[NvidiaGpu]:
    """Return the GPUs that the NVIDIA driver shows, whether or not torch can use them; none where it is not installed.

    Raises
    ------
    NvidiaSmiError
        If `nvidia-smi` is installed and fails.
    """
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NvidiaSmiError(str(error)) from error
    if done.returncode != 0:
        raise NvidiaSmiError((done.stdout + done.stderr).strip().partition("\n")[0])
    rows = [line.rpartition(", ") for line in done.stdout.splitlines() if ", " in line]
    return [NvidiaGpu(name.strip(), driver.strip()) for name, _, driver in rows]


def check_torch_build() -> tuple[Verdict, str]:
    """Return which build of torch is installed, and whether it fits the GPUs of this machine."""
    build = TorchBuild.installed()
    try:
        return fit(build, gpus=nvidia_gpus())
    except NvidiaSmiError as error:
        return "warning", f"{_named(build)}; nvidia-smi answers: {error}"


def fit(build: TorchBuild, *, gpus: Sequence[NvidiaGpu]) -> tuple[Verdict, str]:
    """Return whether a build of torch fits a machine with these GPUs: ok, or a warning that says what to install."""
    if build.gpus:
        return _usable(build)
    name = _named(build)
    if not gpus:
        return "ok", f"{name}; no NVIDIA GPU here"
    seen = f"this machine has an NVIDIA GPU ({gpus[0].name}, driver {gpus[0].driver})"
    if build.cuda is None:
        return "warning", f"{name}, but {seen}; {_instead(build, driver=gpus[0].driver_release)}"
    needed = _OLDEST_DRIVER.get(int(build.cuda.partition(".")[0]), 0)
    if gpus[0].driver_release < needed:
        advice = _instead(build, driver=gpus[0].driver_release)
        return "warning", f"{name} needs driver {needed} or newer, and {seen}; update the driver, or {advice}"
    return "warning", f"{name} reaches no GPU, and {seen}; see whether CUDA_VISIBLE_DEVICES hides it"


def _usable(build: TorchBuild) -> tuple[Verdict, str]:
    name = _named(build)
    compared = build.gpus if build.rocm is None else ()  # builds for ROCm name their architectures otherwise
    without = [gpu for gpu in compared if not build.has_kernels_for(gpu.capability)]
    if without:
        gpu, kernels = without[0], ", ".join(build.architectures)
        own = "sm_{}{}".format(*gpu.capability)
        return "warning", f"{name}, has kernels for {kernels} and none for {gpu.name} ({own}); see docs/install.md"
    return "ok", f"{name}; reaches {len(build.gpus)} GPU(s)"


def _named(build: TorchBuild) -> str:
    if build.cuda is not None:
        return f"{build.version}, built for CUDA {build.cuda}"
    return f"{build.version}, built for " + (f"ROCm {build.rocm}" if build.rocm is not None else "CPUs only")


def _instead(build: TorchBuild, *, driver: int) -> str:
    """Return the command that installs the newest build of this release that a driver runs."""
    fitting = [major for major, oldest in _OLDEST_DRIVER.items() if oldest <= driver]
    if not fitting:
        return f"a driver of at least {min(_OLDEST_DRIVER.values())} is needed for any current build"
    name = BUILDS[max(fitting)]
    release = build.version.partition("+")[0]
    return f"install the build for its driver: pip install torch=={release}+{name} --index-url {INDEX}/{name}"
