"""What a part of the exam raises: `Mistake`."""


class Mistake(Exception):
    """What an executor should have done, and what it did instead."""


def expect(right: object, should: str, did: str) -> None:
    """Raise `Mistake` unless it is *right*."""
    if not right:
        raise Mistake(f"{should}; {did}")


def has_mistake(exc: BaseException) -> bool:
    """Whether an exception out of a part is a mistake that the exam has found, or has some."""
    group = isinstance(exc, BaseExceptionGroup) and exc.subgroup(Mistake) is not None
    return group or isinstance(exc, Mistake)


def mistake_in(exc: BaseException) -> str:
    """Return what an exception out of a part says: the first mistake in it, or what it is."""
    if isinstance(exc, BaseExceptionGroup):
        found = exc.subgroup(Mistake) or exc
        return mistake_in(found.exceptions[0])
    if isinstance(exc, Mistake):
        return str(exc)
    return f"it raised {said_of(exc)}"


def said_of(exc: BaseException) -> str:
    """Return an exception's class and text, and where it was raised."""
    last, trace = "", exc.__traceback__
    while trace is not None:
        last = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(exc).__qualname__}: {exc}{last}"
