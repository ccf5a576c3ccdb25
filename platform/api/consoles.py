"""Consoles that print text as it is, without passwords and without what would control a terminal."""

import sys
from collections.abc import Iterator
from typing import IO, Any, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from nmlab.trials.contract.escaping import printable
from nmlab.trials.contract.secrets import masked


class PlainConsole(Console):
    """A console that prints text from users as it is: no markup, no emoji, no terminal control characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments to print; colours that nmlab itself sets are kept as styles of the segments."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


class MaskedStream:
    """A text stream that masks passwords."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text`` with its secrets masked."""
        return self._stream.write(masked(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is and keeps the present stream, even if it is redirected later."""
    stream = MaskedStream(sys.stderr if stderr else sys.stdout)
    return PlainConsole(
        file=cast(IO[str], stream), highlight=False, markup=False, emoji=False, soft_wrap=True, force_jupyter=False
    )
