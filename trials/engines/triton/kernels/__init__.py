"""The device code of the Triton engine. Importing it needs the package ``triton``; only ``launch`` does so."""
