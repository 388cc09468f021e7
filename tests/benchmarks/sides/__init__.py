"""What runs in a process of its own for each figure: our sides, and the limit."""
