"""The table of reprioritize."""
