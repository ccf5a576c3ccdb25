"""The sentences of a report: findings, verdicts, caveats and provenance."""
