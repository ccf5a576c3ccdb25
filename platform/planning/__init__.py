"""From a study to its trials; memory, time and disk of a launch before it is started; refusal of what cannot fit."""
