"""Browse the runs in MLflow's web pages."""

from collections.abc import Callable

from nmlab.platform.api.places import store_uri


def ui(
    study: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    tracking_uri: str | None = None,
    show: Callable[[str], None] = print,
) -> None:
    """Serve MLflow's web pages on the tracking store until Ctrl-C. For a remote store only its address is shown.

    Args:
        study: a study whose page is shown.
        host: address to listen on.
        port: port to listen on.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.
        show: is called with the address of the page, before anything is served.

    Raises:
        ValueError: there is no such store or study.
        RuntimeError: the server ended with an error, for example because the port is taken.

    Example:
        >>> import nmlab
        >>> nmlab.ui("quickstart", port=5001)  # doctest: +SKIP
    """
    from nmlab.platform.tracking.pages import page_of, serve_pages

    uri = store_uri(tracking_uri)
    show(page_of(study, uri=uri, host=host, port=port))
    if not uri.startswith("http"):
        serve_pages(uri=uri, host=host, port=port)
