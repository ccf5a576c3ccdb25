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
        study: a study, or a launch of one, whose runs are shown as a table.
        host: address to listen on.
        port: port to listen on.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.
        show: is called with the address of each page, once the pages answer.

    Raises:
        ValueError: there is no such store or study.
        RuntimeError: the port is taken, or the server ended with an error.

    Example:
        >>> import nmlab
        >>> nmlab.ui("quickstart", port=5001)  # doctest: +SKIP
    """
    from nmlab.platform.tracking.pages import pages_of, serve_pages

    uri = store_uri(tracking_uri)
    pages = pages_of(study, uri=uri, host=host, port=port)

    def show_all() -> None:
        show(pages.first)
        for words, address in (("means over seeds", pages.means), ("what was found", pages.launch)):
            if address:
                show(f"{words}: {address}")

    if uri.startswith("http"):
        show_all()
    else:
        serve_pages(uri=uri, host=host, port=port, ready=show_all)
