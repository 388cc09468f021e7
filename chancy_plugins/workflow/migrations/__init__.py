"""The tables of workflows and batches, and the functions that advance them."""
