"""The table of leadership."""
