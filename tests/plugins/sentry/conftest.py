"""What the tests of sentry use: an SDK that sends nothing, for one test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.transport import Transport


class Sent(Transport):
    """Keeps what would be sent."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.items: list[tuple[str, Any]] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.items += [(item.headers["type"], item.payload.json) for item in envelope.items]

    def __call__(self, kind: str) -> list[Any]:
        return [payload for named, payload in self.items if named == kind]


@pytest.fixture
def start() -> Iterator[Callable[..., Sent]]:
    """Initialise the SDK as a program does; returns what it sends."""

    def start(**options: Any) -> Sent:
        transport = Sent()
        sentry_sdk.init(
            dsn="https://key@localhost/1",
            transport=transport,
            default_integrations=False,
            **options,
        )
        return transport

    yield start
    sentry_sdk.get_global_scope().set_client(None)
