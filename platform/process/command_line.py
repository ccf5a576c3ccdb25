"""Remove passwords from the command line, which the list of processes shows to every user of the machine."""

from collections.abc import Mapping, Sequence

from nmlab.trials.contract.secrets import has_secret

URI = "MLFLOW_TRACKING_URI"
OPTION = "--tracking-uri"


def arguments_without_secrets(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[list[str], dict[str, str]] | None:
    """Return a command line without passwords, and the environment that holds them; None if there is no password in it.

    The option for the tracking store is taken out, because its environment variable means the same.
    """
    kept, moved, skip = [], dict(environment), False
    for place, argument in enumerate(arguments):
        if skip:
            skip = False
            continue
        following = arguments[place + 1] if place + 1 < len(arguments) else ""
        if argument == OPTION and has_secret(following):
            moved[URI], skip = following, True
        elif argument.startswith(f"{OPTION}=") and has_secret(argument):
            moved[URI] = argument.removeprefix(f"{OPTION}=")
        else:
            kept.append(argument)
    return (kept, moved) if len(kept) != len(arguments) else None
