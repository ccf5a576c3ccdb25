"""`python -m nmlab`: the command line. `nmlab submit` starts it on a head node whose Python may lack dependencies."""

import sys


def main() -> None:
    """Run the command line, or say in one line which dependency the Python that was found lacks (exit code 2)."""
    try:
        from nmlab.platform.cli import main as command_line
    except ModuleNotFoundError as error:
        print(
            f"nmlab: {sys.executable}, which is `python` where Ray was started, has no {error.name}; "
            "start Ray in an environment that has nmlab's dependencies",
            file=sys.stderr,
        )
        sys.exit(2)
    command_line()


if __name__ == "__main__":
    main()
