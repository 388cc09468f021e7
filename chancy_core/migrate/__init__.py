"""Bring the schema to a version and say whether it fits the code: lines of numbered SQL files."""

from chancy_core.migrate.line import Line, LineStatus, Migration, Script, Step
from chancy_core.migrate.migrator import Migrator
from chancy_core.migrate.right import Right

__all__ = ["Line", "LineStatus", "Migration", "Migrator", "Right", "Script", "Step"]
