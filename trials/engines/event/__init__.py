"""The event engine, which touches only groups that deviate from their mode; docs/engines.md explains and proves it."""

from nmlab.trials.engines.event.engine import EventEngine

__all__ = ["EventEngine"]
