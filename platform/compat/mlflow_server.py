"""MLflow's server for one machine, with a page of its own that opens the others; uvicorn runs it as a process.

The pages keep some choices in the browser: whether they are for training or for language applications, and whether
an assistant for the latter has opened by itself. `OPENING` makes these choices where the user has made none, and goes
on to the page that its address names.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from typing import Any, Final, cast

from nmlab.reports.read.mlflow_access import library

__all__ = ["BROWSER_CHOICES", "OPENING", "app", "server_environment"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
OPENING: Final = "nmlab"
"""The path of the page that opens another: ``nmlab#/experiments/1/runs``."""
BROWSER_CHOICES: Final[Mapping[str, str]] = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}
"""What MLflow's pages keep in the browser, and the values with which they are for training runs alone.

Instead: the address of a page may say ``workflowType``, but its links to other pages lose that.
Seen: MLflow 3.17
"""
_PAGE = """<!doctype html><meta charset="utf-8"><title>nmlab</title><script>
for (const [name, value] of Object.entries(CHOICES))
  if (localStorage.getItem(name) === null) localStorage.setItem(name, value);
location.replace("./" + location.hash);
</script>"""


def server_environment(uri: str) -> dict[str, str]:
    """Return the environment variables by which `app` knows its store, as MLflow's own command sets them.

    Instead: ``mlflow server`` takes no page beside its own, and imports all of MLflow in a second process.
    Seen: MLflow 3.17
    """
    return {
        "_MLFLOW_SERVER_FILE_STORE": uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "./mlartifacts",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer a request: the opening page, or whatever MLflow's own application answers.

    Instead: as `server_environment`.
    Seen: MLflow 3.17
    """
    if scope["type"] != "http" or scope["path"] != f"/{OPENING}":
        await _of_mlflow()(scope, receive, send)
        return
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _opening_page()})


@cache
def _opening_page() -> bytes:
    return _PAGE.replace("CHOICES", json.dumps(dict(BROWSER_CHOICES))).encode()


@cache
def _of_mlflow() -> Application:
    return cast(Application, library.server_app())
