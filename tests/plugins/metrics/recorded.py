"""Jobs that record metrics, in a module that child processes can import."""

from chancy import job
from chancy_plugins.metrics import count, gauge, observe


@job(name="metrics.records", queue="children")
def records(number: int) -> int:
    count("acme.children", labels={"parity": str(number % 2)})
    gauge("acme.number", number)
    observe("acme.size", float(number), unit="bytes")
    count("acme.children", -1)  # is left out, and told of
    return number
