"""The reason why a cluster was not joined is recognised by the texts of Ray 2.60, and never a wrong one."""

import pytest
import ray
from ray.exceptions import AuthenticationError

from nmlab.platform.cluster import session as clusters
from nmlab.platform.cluster.connection_check import token_refused
from nmlab.platform.cluster.joining import why_not_joined

VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.59.0
    Python: 3.11.4
This process on node address: 10.0.0.1:6379 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""
NONE = (
    "Could not find any running Ray instance. Please specify the one to connect to by setting the `--address` flag or "
    "`RAY_ADDRESS` environment variable."
)
SEVERAL = (
    "Found multiple active Ray instances: {'10.0.0.1:6379', '10.0.0.1:6380'}. Please specify the one to connect to by "
    "setting the `--address` flag or `RAY_ADDRESS` environment variable."
)
NODE = "No node info found matching attributes: '10.0.0.7' when trying to resolve node to connect to."
TWICE = (
    "Maybe you called ray.init twice by accident? This error can be suppressed by passing in "
    "'ignore_reinit_error=True' or by calling 'ray.shutdown()' prior to 'ray.init()'."
)
GCS = """Failed to connect to GCS. Last connection error: Traceback (most recent call last):
  File "ray/_private/node.py", line 996, in _init_gcs_client
    client = GcsClient(
             ^^^^^^^^^^
ray.exceptions.RpcError: Timed out while waiting for GCS to become available.
"""


def _failed_to_connect(text) -> ConnectionError:
    error = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
    error.__cause__ = RuntimeError(text)
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError(VERSIONS),
            "the Ray cluster at 'auto' runs Ray 2.59.0 on Python 3.11.4, this process Ray 2.60.0 on Python 3.11.7; "
            "install the same versions here",
        ),
        (_failed_to_connect(VERSIONS), "runs Ray 2.59.0 on Python 3.11.4, this process Ray 2.60.0"),
        (
            AuthenticationError("Token authentication is enabled but no authentication token was found"),
            "refuses the connection",
        ),
        (ConnectionError(NONE), "none runs on this machine; start one with `ray start --head`, or give HOST:PORT"),
        (ConnectionError(SEVERAL), "several Ray clusters run on this machine (10.0.0.1:6379, 10.0.0.1:6380); give one"),
        (_failed_to_connect(NODE), "the Ray cluster at 'auto' answers, but this machine is not one of its nodes"),
        (RuntimeError(TWICE), "this process is already connected to Ray; call ray.shutdown() first"),
        (
            _failed_to_connect(GCS),
            "no Ray cluster answers at 'auto': RpcError: Timed out while waiting for GCS to become available.",
        ),
        (
            Exception(
                "The current node timed out during startup. This could happen because some of the raylet failed."
            ),
            "the Ray cluster at 'auto' could not be joined: The current node timed out during startup.",
        ),
        (RuntimeError("Unknown keyword argument(s): x"), "could not be joined: Unknown keyword argument(s): x"),
    ],
)
def test_each_reason_has_its_own_line(monkeypatch, error, message):
    """Through ``cluster`` itself, which leaves nothing half-connected."""

    def fail(**options):
        raise error

    shut = []
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "shutdown", lambda: shut.append(True))
    with pytest.raises(ValueError) as refused, clusters.cluster("auto"):
        pass
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert ("no Ray cluster" in str(refused.value)) == ("no Ray cluster" in message or "none runs" in message)
    assert shut == [True]


def test_a_connection_of_the_users_own_is_not_cut(monkeypatch):
    def fail(**options):
        raise RuntimeError(TWICE)

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "shutdown", lambda: pytest.fail("shut down what it did not start"))
    with pytest.raises(ValueError, match="already connected to Ray"), clusters.cluster("auto"):
        pass


def test_the_line_about_tokens_is_one_for_both_ways_to_find_out(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert why_not_joined(AuthenticationError("Invalid authentication token"), address="a:1") == token_refused("a:1")
