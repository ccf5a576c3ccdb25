"""Runs the checks of the Triton engine where kernels run: in Triton's interpreter, and on a GPU where there is one.

The interpreter must be chosen before ``triton`` is first imported, so the checks have a process of their own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="the package triton exists for Linux only")

FOLDER = Path(__file__).parent / "triton"
FILES = ["masks.py", "moves.py", "selfcheck.py"]
PLACES = {"interpreter": [*FILES, "benchmark.py"], **({"cuda": FILES} if torch.cuda.is_available() else {})}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("place", PLACES)
def test_checks_pass(request, place):
    environment = {**os.environ, "TRITON_INTERPRET": "1" if place == "interpreter" else "0"}
    options = ["-q", "-p", "no:cacheprovider", "-o", "python_functions=check_*", "-W", "ignore"]
    options += ["-m", request.config.option.markexpr.replace("not slow and ", "")]
    command = [sys.executable, "-m", "pytest", *options, *(str(FOLDER / file) for file in PLACES[place])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
