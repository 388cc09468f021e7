"""What the database does not take: a value is to blame, and no more than that is left out."""


def is_of_the_values(exc: Exception) -> bool:
    """Whether an error is about what was written, and not about the database or the way to it."""
    state = getattr(exc, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in {"22", "23"}
    refused = any(of.__name__ == "DataError" for of in type(exc).__mro__)  # the driver's own
    return refused or isinstance(exc, ValueError)
