"""The table and the functions of trigger."""
