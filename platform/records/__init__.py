"""The records of a launch: what happened, one dataclass an event, and their form in the journal."""
