"""The migration line `core`: numbered pairs of SQL files, applied by `chancy_core.migrate`."""
