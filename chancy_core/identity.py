"""Identities that sort by the time at which they were made: UUIDv7 (RFC 9562)."""

import sys

if sys.version_info >= (3, 14):
    from uuid import uuid7 as new_id
else:
    from uuid_utils.compat import uuid7 as new_id

__all__ = ["new_id"]
