"""The jobs of the tests of workflows."""

from chancy import job

#: What the jobs of a test are told: which of them fail, by their names.
failing: set[str] = set()


@job(name="flows.give", queue="q")
async def give(value: object = None, name: str = "") -> object:
    if name in failing:
        raise RuntimeError(f"{name} fails")
    return value


@job(name="flows.add", queue="q")
async def add(left: int, right: int) -> int:
    return left + right


@job(name="flows.total", queue="q")
async def total(parts: list[int | None]) -> int:
    return sum(part or 0 for part in parts)
