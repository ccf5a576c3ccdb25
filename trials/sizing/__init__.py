"""What a trial will take, found before it is started: preflight, dry run and probe."""
