"""The engine that touches only groups which deviate from their mode; docs/engines.md explains and proves it."""

from nmlab.trials.engines.event.engine import EventEngine

__all__ = ["EventEngine"]
