"""Our errors of the database, made to be psycopg errors as well.

Whoever catches `psycopg.OperationalError`, as all code for psycopg does, catches these too.
"""

import psycopg

from chancy_core import errors


class CallTimeout(psycopg.OperationalError, errors.CallTimeout):
    """The server gave no answer within the deadline of the call.

    The call's effect is in doubt if it wrote anything. The connection is usable, or closed.
    """


class ConnectTimeout(psycopg.errors.ConnectionTimeout, CallTimeout):
    """No host accepted a session within `connect_timeout`."""


class PoolExhausted(psycopg.OperationalError, errors.PoolExhausted):
    """No connection became free within the time that the caller was ready to wait."""


class PoolClosed(psycopg.OperationalError, errors.PoolClosed):
    """The pool is not open (any more)."""
