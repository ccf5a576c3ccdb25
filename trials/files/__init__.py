"""Files that are whole or not there, and that show damage."""
