"""The tables of cron."""
