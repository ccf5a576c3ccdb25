"""Files that are written atomically and whose damage is detected."""
