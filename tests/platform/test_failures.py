"""The line that gives the reason of a failure; the texts are those of Ray 2.60, pydantic 2.14 and Python 3.11."""

import json

import pytest
from pydantic import BaseModel

from nmlab.platform.failures import reason_line
from nmlab.trials.contract.errors import SourceError

NESTED = """\x1b[36mray::nested()\x1b[39m (pid=12636, ip=192.0.2.2)
  File "s.py", line 20, in nested
    def nested(): return ray.get(bad_source.remote())
                         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
           ^^^^^^^^^^^^^^^^^^^
ray.exceptions.RayTaskError(SourceError): \x1b[36mray::bad_source()\x1b[39m (pid=12635, ip=192.0.2.2)
  File "json/decoder.py", line 353, in raw_decode
    obj, end = self.scan_once(s, idx)
               ^^^^^^^^^^^^^^^^^^^^^^
json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)

The above exception was the direct cause of the following exception:

\x1b[36mray::bad_source()\x1b[39m (pid=12635, ip=192.0.2.2)
  File "s.py", line 14, in bad_source
    except ValueError as e: raise SourceError("data 'a.jsonl' line 1 is not JSON: x") from e
                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
nmlab.trials.contract.errors.SourceError: data 'a.jsonl' line 1 is not JSON: x"""
PYDANTIC = """\x1b[36mray::bad_pydantic()\x1b[39m (pid=12636, ip=192.0.2.2)
  File "pydantic/main.py", line 280, in __init__
    validated_self = self.__pydantic_validator__.validate_python(data, self_instance=self)
                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
pydantic_core._pydantic_core.ValidationError: 2 validation errors for M
seeds.0
  Input should be a valid integer, unable to parse string as an integer [type=int_parsing, input_value='a', input_type=str]
    For further information visit https://errors.pydantic.dev/2.14/v/int_parsing
n
  Input should be a valid integer, unable to parse string as an integer [type=int_parsing, input_value='b', input_type=str]
    For further information visit https://errors.pydantic.dev/2.14/v/int_parsing"""  # noqa: E501
TRAIN = """Training failed due to worker errors:
[Rank 0 Error Snippet]:
Traceback (most recent call last):
  File "s.py", line 38, in loop
    raise SourceError("model 'x' could not be loaded: no such file")
nmlab.trials.contract.errors.SourceError: model 'x' could not be loaded: no such file

"""
RANKS = """Training failed due to worker errors:
[Rank 0 Error Snippet]:
Traceback (most recent call last):
  File "s.py", line 1, in loop
    raise PeerError("another worker failed")
nmlab.trials.contract.errors.PeerError: another worker failed
[Rank 1 Error Snippet]:
Traceback (most recent call last):
  File "s.py", line 40, in loop
    raise RuntimeError("first\\nsecond")
RuntimeError: CUDA error: an illegal memory access was encountered
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
"""
KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: A
\tactor_id: 4f165f97f02f8259223f57da01000000
\tpid: 12731
\tnamespace: 022bdb65-3115-4bdc-997f-b268df0f1539
\tip: 192.0.2.2
The actor is dead because it was killed by `ray.kill`."""
DIED = KILLED.replace(
    "it was killed by `ray.kill`.",
    "its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a "
    "connection error code 2. End of file. Some common causes include: (1) the process was killed by the OOM killer "
    "due to high memory usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly due to SIGSEGV.",
)
MEANWHILE = """Traceback (most recent call last):
  File "a.py", line 1, in f
    names[key]
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in f
    raise ValueError("unknown name 'x'")
ValueError: unknown name 'x'"""
VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.59.0
    Python: 3.11.7
This process on node address:6379 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (NESTED, "data 'a.jsonl' line 1 is not JSON: x"),
        (
            PYDANTIC,
            "ValidationError: 2 validation errors for M: seeds.0: Input should be a valid integer, unable to parse "
            "string as an integer",
        ),
        (TRAIN, "model 'x' could not be loaded: no such file"),
        (RANKS, "RuntimeError: CUDA error: an illegal memory access was encountered"),
        (KILLED, "The actor is dead because it was killed by `ray.kill`."),
        (MEANWHILE, "ValueError: unknown name 'x'"),
        (VERSIONS, "Version mismatch: The cluster was started with: Ray: 2.59.0"),
        ("first line\nsecond line", "first line"),
        ("\n  alone  \n", "alone"),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_in_a_text(text, line):
    assert reason_line(RuntimeError(text)) == line


def test_long_texts_end_with_a_sentence():
    assert reason_line(RuntimeError(DIED)).startswith(
        "The actor is dead because its worker process has died. Worker exit"
    )
    assert len(reason_line(RuntimeError(DIED))) <= 300
    assert reason_line(RuntimeError("x" * 1000)).endswith("x...")


def _raised(act) -> BaseException:
    with pytest.raises(BaseException) as raised:
        act()
    return raised.value


def test_an_error_of_nmlab_is_shown_as_it_is():
    def parse():
        try:
            json.loads("{")
        except ValueError as error:
            raise SourceError("data 'a.jsonl' line 3 is not JSON\nread on") from error

    assert reason_line(_raised(parse)) == "data 'a.jsonl' line 3 is not JSON"


def test_a_cause_follows_the_error_that_it_caused():
    def start(error, cause):
        raise error from cause

    disk, failed = OSError(28, "No space left on device"), RuntimeError("could not start.\nSee the log.")
    assert reason_line(_raised(lambda: start(failed, disk))) == "could not start: [Errno 28] No space left on device"
    complete = RuntimeError("could not start: [Errno 28] No space left on device")
    assert reason_line(_raised(lambda: start(complete, disk))) == str(complete)
    assert reason_line(_raised(lambda: start(failed, SourceError("no model")))) == "could not start: no model"
    assert reason_line(_raised(lambda: start(KeyError("name"), None))) == "KeyError: 'name'"
    assert reason_line(_raised(lambda: start(MemoryError(), None))) == "MemoryError"
    assert reason_line(ExceptionGroup("two failed", [disk, failed])).startswith("two failed: [Errno 28] No space left")


def test_pydantics_own_error():
    class Model(BaseModel):
        seeds: list[int]
        n: int

    line = reason_line(_raised(lambda: Model(seeds=["a"], n="b")))
    assert line.startswith("2 validation errors for Model: seeds.0: Input should be a valid integer")
    assert "http" not in line
    assert "[type" not in line


def test_what_a_ray_task_raised():
    class TaskError(Exception):
        def __init__(self, text, cause):
            super().__init__(text)
            self.cause = cause

    assert reason_line(TaskError(NESTED, SourceError("no model"))) == "no model"
    assert reason_line(TaskError(NESTED, None)) == "data 'a.jsonl' line 1 is not JSON: x"
