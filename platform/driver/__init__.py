"""The phases of a sweep in the driver: open the launch, run its trials, stop and save, close."""
