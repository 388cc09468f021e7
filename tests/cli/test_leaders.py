"""`chancy leaders`, as a person types it and as a program calls it."""

import re
from uuid import uuid4

import anyio

from chancy import Chancy
from chancy_plugins.leadership import statements
from tests.terminal import Shell


def test_leaders(shell: Shell, dsn: str) -> None:
    assert "nobody leads anything" in shell.people("leaders")

    async def lead() -> None:
        async with Chancy(dsn) as chancy:
            asked = statements.campaign(chancy.names, "acme.sweep", uuid4(), "alpha", 60.0)
            assert await chancy.database.run(asked) == 1

    anyio.run(lead)
    shown = shell.people("leaders")
    assert re.search(r"name +worker +term +since +lease", shown)
    assert re.search(r"acme\.sweep +alpha +1 +\S.*[3-6]\d s", shown)
    (told,) = shell.programs("leaders").values
    assert (told["name"], told["worker"], told["term"]) == ("acme.sweep", "alpha", 1)
    assert 30 < told["expires_in"] <= 60
