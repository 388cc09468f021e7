"""The sender of hints, on a store that a test holds up."""

from typing import Any

import anyio
import pytest

from chancy_core import hint
from chancy_core.hint import Hint
from chancy_core.notify import Notifier
from chancy_core.statement import Names

pytestmark = pytest.mark.anyio


class Slow:
    """Sends when it is let."""

    names = Names()

    def __init__(self) -> None:
        self.sending, self.go = anyio.Event(), anyio.Event()
        self.sent: list[Any] = []

    async def run(self, statement: Any) -> None:
        self.sending.set()
        await self.go.wait()
        self.sent.append(statement.params["payloads"])


async def test_what_is_being_sent_when_all_is_cancelled_is_sent_by_the_flush():
    store: Any = Slow()
    notifier = Notifier(store)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier.run)
            notifier.send(Hint(hint.PUSHED, "first"))
            await store.sending.wait()
            notifier.send(Hint(hint.PUSHED, "second"))
            tasks.cancel_scope.cancel()
        store.go.set()
        await notifier.flush()
    assert [len(payloads) for payloads in store.sent] == [2]
