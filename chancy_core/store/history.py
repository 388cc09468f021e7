"""What is done about a day for which the history has no partition."""

from collections.abc import Generator
from typing import Any, TypeVar

from chancy_core.statement import Names, Statement
from chancy_core.store import statements

T = TypeVar("T")


def into_history(names: Names, statement: Statement[T]) -> Generator[Statement[Any], Any, T]:
    """Run what moves jobs into the history; where no worker has made its partitions, make them.

    Within a transaction of the caller's, which is lost then, the error is raised as it is.
    """
    from psycopg.errors import CheckViolation, InFailedSqlTransaction

    try:
        answer: T = yield statement
    except CheckViolation as exc:
        if exc.diag.constraint_name is not None:
            raise
        try:
            yield statements.ensure_partitions(names)
        except InFailedSqlTransaction:
            raise exc from None
        answer = yield statement
    return answer
