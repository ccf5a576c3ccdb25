"""How long to wait before another try after a failure, and the reason of a failure in one line."""

import re
from collections.abc import Iterable, Iterator

from nmlab.trials.contract.secrets import masked

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RANK = re.compile(r"^\[Rank \d+ Error Snippet\]:$", re.MULTILINE)
_FRAME = re.compile(r'^\s+File "')
_TYPED = re.compile(r"(?P<path>[A-Za-z_][\w.]*)(?:\(\w+\))?(?:: (?P<message>.*))?")
_INVALID = re.compile(r"\d+ validation errors? for ")
_BECAUSE = re.compile(r"^The \w+ (is|was|died|has)\b.* because ")
_DIRECT = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"
# What a worker raises because another worker failed; the error of that other worker holds the reason.
_SECONDARY = re.compile(r"nmlab\.trials\.contract\.errors\.(PeerError|PipelineLostError)\b")
_LONGEST = 300


def back_off_seconds(failures: int, *, first: float, longest: float = 30.0) -> float:
    """Return the seconds to wait after a number of failures in a row: ``first``, then doubled, at most ``longest``."""
    return float(min(first * 2 ** min(failures - 1, 30), longest))


def reason_line(error: BaseException) -> str:
    """Return in one line why something failed: the error's own reason, and that of its cause if it adds one.

    The text of an error of nmlab is taken as it is. Other errors may carry whole tracebacks of other processes in their
    text; of these the line that names what was raised is taken, and of pydantic's the first field and message.
    """
    return masked(_joined(_reasons(error)) or type(error).__name__)


def _reasons(error: BaseException) -> Iterator[str]:
    """Yield the reasons of an error and its causes, the outermost first, up to the first error of nmlab."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        remote = getattr(error, "cause", None)  # what a Ray task raised, in the process of the task
        if isinstance(remote, BaseException):
            error = remote
            continue
        yield _own_reason(error)
        if _is_ours(type(error).__module__) or error.__cause__ is None:
            return
        error = error.__cause__


def _own_reason(error: BaseException) -> str:
    text = str(error).strip()
    if isinstance(error, KeyError) or not text:  # a key alone says little
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        return f"{error.message}: {reason_line(error.exceptions[0])}"
    return _reason_in(text)


def _reason_in(text: str) -> str:
    """Return the line that says what happened, of a text that may hold tracebacks."""
    text = _ANSI.sub("", text)
    snippets = _RANK.split(text)[1:]
    if snippets:
        reasons = [_raised(snippet) for snippet in snippets]
        first = next((reason for reason in reasons if not _SECONDARY.match(reason)), reasons[0])
        return _without_our_type(first)
    if any(_FRAME.match(line) for line in text.splitlines()):
        return _without_our_type(_raised(text))
    lines = [line for line in text.splitlines() if line.strip()]
    because = next((line for line in lines if _BECAUSE.match(line)), None)
    return _shortened(because or _with_detail(lines))


def _raised(text: str) -> str:
    """Return type and message of the last error of a traceback, and of its direct causes if they add something."""
    blocks = text.rpartition(_MEANWHILE)[2].split(_DIRECT)
    lines = [line for block in reversed(blocks) if (line := _last_raised(block))]
    if lines and lines[0].startswith("nmlab."):
        return _short_type(lines[0])
    return _joined(_short_type(line) for line in lines)


def _last_raised(block: str) -> str:
    """Return the line after the last frame of a traceback; the message may continue below it."""
    lines = block.splitlines()
    frames = [number for number, line in enumerate(lines) if _FRAME.match(line)]
    behind = lines[frames[-1] + 1 :] if frames else lines
    start = next((number for number, line in enumerate(behind) if line.strip() and not line[0].isspace()), None)
    return "" if start is None else _with_detail([line for line in behind[start:] if line.strip()])


def _with_detail(lines: list[str]) -> str:
    """Return the first line, with the next one if the first only announces it (it ends with a colon)."""
    first, rest = lines[0].strip(), [line.strip() for line in lines[1:]]
    if _INVALID.search(first) and len(rest) > 1:
        return f"{first}: {rest[0]}: {rest[1].partition(' [type=')[0]}"
    if first.endswith(":") and rest:
        return f"{first} {rest[0]}"
    return first


def _short_type(line: str) -> str:
    """Return ``module.Type: message`` without the module; errors of nmlab keep theirs until the end."""
    found = _TYPED.fullmatch(line)
    if found is None or found["path"].startswith("nmlab."):
        return line
    name = found["path"].rpartition(".")[2]
    return name if found["message"] is None else f"{name}: {found['message']}"


def _without_our_type(line: str) -> str:
    found = _TYPED.fullmatch(line)
    return _shortened(found["message"] if found and found["message"] and _is_ours(found["path"]) else line)


def _is_ours(path: str) -> bool:
    return path.startswith("nmlab.")


def _joined(reasons: Iterable[str]) -> str:
    """Return reasons, the outermost first, as one line without repetitions."""
    kept: list[str] = []
    for reason in reasons:
        if reason and not any(reason in earlier for earlier in kept):
            kept = [earlier.rstrip(".:") for earlier in kept if earlier not in reason] + [reason]
    return ": ".join(kept)


def _shortened(line: str) -> str:
    """Return a line of at most 300 characters: a longer one is cut, at the end of a sentence if there is one."""
    if len(line) <= _LONGEST:
        return line
    end = line.rfind(". ", 0, _LONGEST)
    return line[:end] if end > 0 else f"{line[: _LONGEST - 3]}..."
