"""The database through which the jobs of a module go."""

from collections.abc import Iterator

import pytest

from tests.properties.going import Going, going


@pytest.fixture(scope="module")
def there(chancy_server: str, chancy_template: str) -> Iterator[Going]:
    with going(chancy_server, chancy_template) as it:
        yield it
