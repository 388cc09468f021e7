"""Every error that this project raises on purpose, drawn once.

    ChancyError
    ├── InvalidValue (ValueError)       what you gave cannot be; raised where you gave it
    │   ├── InvalidJob
    │   ├── InvalidPlugin
    │   └── InvalidQueue
    ├── OfferError                      what installed packages offer by entry points
    │   ├── UnknownName (LookupError)   nobody offers that name
    │   ├── NameTaken                   two distributions offer the same name
    │   └── BrokenOffer                 it is offered, but cannot be loaded
    ├── MissingExtra (ImportError)      what a part of a package needs is not installed
    ├── DatabaseError                   PostgreSQL, or the way to it
    │   ├── CallTimeout (TimeoutError)  no answer within the deadline of the call
    │   ├── PoolExhausted (TimeoutError)
    │   └── PoolClosed
    ├── EmbeddedError                   the embedded server could not be had
    ├── MigrationError
    │   └── MigrationsNeeded            the database is older, or too new, for this code
    ├── JobNotFound (LookupError)
    ├── QueueNotFound (LookupError)
    ├── LeaseLost                       the job is not (any more) the caller's to settle
    ├── AttemptOver                     the attempt that runs here was ended from outside
    ├── RetryAfter                      a job raises it: it failed, and its next attempt waits
    ├── Snooze                          a job raises it: not now, but later; nothing has failed
    ├── JobFailed                       the job that you waited for did not succeed
    ├── CommandFailed                   a command left with a status that is no success
    ├── KitError                        the testing kit cannot do that, or not in this database
    ├── ExamFailed (AssertionError)     an executor does not keep its contract
    └── ExecutionError                  how an attempt may end without the job's own doing
        ├── UnknownFunction             this worker's code has not registered the function
        ├── Unprepared                  a plugin that it needs could not prepare it
        ├── TimeLimitExceeded (TimeoutError)
        ├── MemoryLimitExceeded (MemoryError)
        ├── ChildDied                   the process that ran the job is gone
        └── Unsupported                 the queue's executor cannot run this kind of job

Each message says who, what, and what would have been right.
"""

from collections.abc import Mapping

from chancy_core.showing import shown

#: The most seconds for which a job can ask to be put off: a year.
LONGEST_WAIT = 366 * 86_400


class ChancyError(Exception):
    """The root of all errors that this project raises on purpose."""


class InvalidValue(ChancyError, ValueError):
    """Something that was given cannot be stored or used."""


class InvalidJob(InvalidValue):
    """A job that cannot be stored, or whose arguments do not fit its function."""


class InvalidPlugin(InvalidValue):
    """A plugin that cannot be used: a hook is misspelt, say, or an `async def` that must not be."""


class InvalidQueue(InvalidValue):
    """A queue whose settings make no sense."""


class OfferError(ChancyError):
    """Something is wrong with what installed packages offer by entry points."""


class UnknownName(OfferError, LookupError):
    """No installed package offers this name; the message lists those that are offered."""


class NameTaken(OfferError):
    """Two distributions offer the same name; the message names both."""


class BrokenOffer(OfferError):
    """A distribution offers this name, but loading it failed."""


class MissingExtra(ChancyError, ImportError):
    """A part of a package needs another one, which is not installed; the message says which.

    A plugin that raises it when it is imported is left out without a noise: nobody asked for it.
    """


class DatabaseError(ChancyError):
    """PostgreSQL, or the way to it, failed us.

    `chancy_core.postgres` raises subclasses that are psycopg errors too.
    """


class CallTimeout(DatabaseError, TimeoutError):
    """The database gave no answer within the deadline of the call."""


class PoolExhausted(DatabaseError, TimeoutError):
    """No connection became free within the time that the caller was ready to wait."""


class PoolClosed(DatabaseError):
    """The pool is not open (any more)."""


class EmbeddedError(ChancyError):
    """The embedded PostgreSQL server could not be found, started or joined."""


class MigrationError(ChancyError):
    """The schema could not be brought to the version that was asked for."""


class MigrationsNeeded(MigrationError):
    """The schema does not fit this version of the code; the message says what to run."""


class JobNotFound(ChancyError, LookupError):
    """No job, live or finished, has this identifier."""


class QueueNotFound(ChancyError, LookupError):
    """No queue has this name."""


class LeaseLost(ChancyError):
    """The job is not running under this lease (any more): somebody else may be running it."""


class AttemptOver(ChancyError):
    """The attempt that runs here was ended from outside: nobody waits for what it returns."""


class RetryAfter(ChancyError):
    """The function of a job raises it: the attempt has failed, and the next one is to wait.

        raise RetryAfter(float(response.headers["Retry-After"]), "the service is busy")

    If the job has attempts left, the next begins *seconds* later and no sooner: up to a year, and
    what is less than 0 is 0. Any exception with such a number, or a timedelta, as its attribute
    `retry_after` asks for the same. It is the plugin `retry` that keeps to it.

    Raises `InvalidValue` for what is no such number.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        self.retry_after = max(0.0, _seconds("RetryAfter", seconds, float("-inf")))
        super().__init__(seconds, message)

    def __str__(self) -> str:
        return str(self.args[1]) or f"it asks to be tried again in {self.retry_after:g} s"


class Snooze(ChancyError):
    """The function of a job raises it: there is nothing to be done yet, and nothing has failed.

        if not order.paid:
            raise Snooze(3600)

    The job is begun again *seconds* later: 0.001 to a year. Such an attempt does not count, and
    leaves no error; how many there were stands in the job's meta, as `snoozed`. A job that is to be
    run at most once fails instead, since it may not begin again.

    Raises `InvalidValue` for what is no such number.
    """

    def __init__(self, seconds: float) -> None:
        self.retry_after = _seconds("Snooze", seconds, 0.001)
        super().__init__(seconds)

    def __str__(self) -> str:
        return f"it asks to be begun again in {self.retry_after:g} s"


def _seconds(who: str, given: float, least: float) -> float:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not least <= given <= LONGEST_WAIT:
        raise InvalidValue(
            f"{who}(…) takes a number of seconds, {max(0, least):g} to {LONGEST_WAIT:,}, "
            f"and not {shown(given)}"
        )
    return float(given)


class JobFailed(ChancyError):
    """The job whose result was asked for ended in another state than `succeeded`."""


class CommandFailed(ChancyError):
    """The command that a job ran left with a status that is no success, or was killed."""


class KitError(ChancyError):
    """The testing kit cannot do what it was asked: not in this database, or not without end."""


class ExamFailed(ChancyError, AssertionError):
    """An executor does not keep its contract; *failures* has what went wrong in which part."""

    def __init__(self, executor: str, failures: Mapping[str, str]) -> None:
        said = "".join(f"\n  {part}: {what}" for part, what in failures.items())
        super().__init__(f"{executor} does not keep the contract of executors:{said}")
        self.executor = executor
        self.failures = dict(failures)


class ExecutionError(ChancyError):
    """An attempt ended without the job's own code having had the last word."""


class UnknownFunction(ExecutionError):
    """The code of this worker has not registered a function of this name."""


class Unprepared(ExecutionError):
    """A plugin that the attempt needs could not prepare it: its context, or an argument."""


class TimeLimitExceeded(ExecutionError, TimeoutError):
    """The attempt took longer than its time limit."""


class MemoryLimitExceeded(ExecutionError, MemoryError):
    """The attempt needed more memory than its limit."""


class ChildDied(ExecutionError):
    """The process that ran the attempt ended before it had answered."""


class Unsupported(ExecutionError):
    """The queue's executor cannot run this kind of job."""
