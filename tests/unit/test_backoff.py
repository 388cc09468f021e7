"""How long is waited before the database is asked again."""

from chancy_core.store.store import backoff


def test_a_pause_has_its_bound_however_long_the_outage_was():
    """From the 1,024th failure on, after some hours, it once was an error: and the worker's end."""
    pauses = [backoff(tries) for tries in (0, 1, 7, 30, 1_023, 1_024, 100_000) for _ in range(50)]
    assert min(pauses) >= 0
    assert 5 < max(pauses) <= 10
    assert max(backoff(1) for _ in range(50)) <= 0.2
