"""Where configurations come from and which of them are stopped early."""
