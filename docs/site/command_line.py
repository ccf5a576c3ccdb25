"""The page of the command line, from the commands themselves: what each does, its arguments and its options."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from nmlab.platform.cli.verbs import VERBS, load

OPENING = """\
# Command line

Every command has `--help`, which prints what stands here. `STUDY` is a name from `nmlab studies` or a YAML file;
`LAUNCH` is a launch, its folder, or a study, which means its newest launch; `TARGET` is any id that nmlab prints. The
[guide](../guide.md#verbs) says more about all three, about exit codes and about tracking stores.

This page is generated from the commands.
"""
_WORDS = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def command_line_page() -> str:
    """Return the page in Markdown: a section for each command, in the order of ``nmlab --help``."""
    return OPENING + "".join(_section(name, load(name), types_of(name)) for name in VERBS)


def types_of(name: str) -> dict[str, type]:
    """Return the type of one value of each parameter of a command: that of the elements of a list, without None."""
    function = getattr(import_module(f"nmlab.platform.cli.{VERBS[name].module}"), name)
    hints = typing.get_type_hints(function)
    return {name: _plain(hint) for name, hint in hints.items() if name != "return"}


def _plain(hint: Any) -> type:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    plain: type = typing.get_args(hint)[0] if typing.get_origin(hint) is list else hint
    return plain


def _section(name: str, command: Any, kinds: Mapping[str, type]) -> str:
    said, example = _said(command)
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    parts = [f"\n## nmlab {name} {{ #{name} }}\n", said, _code(_usage(name, arguments, bool(options)))]
    if example:
        parts.append(f"For example:\n\n{_code(example)}")
    parts.append(_table("argument", [_argument(argument) for argument in arguments]))
    parts.append(_table("option", [_option(option, kinds[option.name]) for option in options]))
    return "\n".join(part for part in parts if part)


def _said(command: Any) -> tuple[str, str]:
    """Return what a command's docstring says, and its example."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    examples = [text for text in paragraphs if text.startswith("Example:")]
    rest = [text for text in paragraphs if not text.startswith("Example:")]
    return "\n\n".join(rest) + "\n", "\n".join(text.removeprefix("Example:").strip() for text in examples)


def _usage(name: str, arguments: Sequence[Any], has_options: bool) -> str:
    words = ["nmlab", name, *(["[OPTIONS]"] if has_options else [])]
    for argument in arguments:
        word = _name(argument) + ("..." if argument.nargs == -1 else "")
        words.append(word if argument.required else f"[{word}]")
    return " ".join(words)


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper().strip("[]").removesuffix("...")


def _argument(argument: Any) -> tuple[str, str]:
    return f"`{_name(argument)}`", _text(argument.help) + _default(argument)


def _option(option: Any, kind: type) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if kind is bool else f" `{option.metavar or _WORDS[kind]}`"
    return names + value, _text(option.help) + _default(option) + _variable(option)


def _default(parameter: Any) -> str:
    default = parameter.default
    if default is None or default is False or callable(default) or parameter.show_default is False:
        return ""
    return f" Default: `{default}`."


def _variable(option: Any) -> str:
    return f" Environment: `{option.envvar}`." if option.envvar else ""


def _text(help_text: str | None) -> str:
    """Return a help text as one cell of a table."""
    assert help_text, "an argument or option without help"
    return " ".join(help_text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    return f"```bash\n{text}\n```\n"


def _table(what: str, rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(_lines(what, rows)) + "\n" if rows else ""


def _lines(what: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f"| {what} | |\n| --- | --- |"
    yield from (f"| {left} | {right} |" for left, right in rows)
