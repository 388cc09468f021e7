"""The tables of retention."""
