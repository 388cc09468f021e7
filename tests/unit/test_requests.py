"""Requests, step by step: what is asked next when somebody else was quicker."""

from chancy_core.filter import Answer
from chancy_core.identity import new_id
from chancy_core.job import State
from chancy_core.statement import Names
from chancy_core.store import carrying, requests


def test_a_job_that_is_purged_while_it_is_to_be_cancelled_is_not_asked_for_again():
    """It was being claimed, or changed, and then it was gone: nothing is left to cancel."""
    job = new_id()
    answers = iter([{}, {job: State.PENDING}, {}, {}])
    found = carrying.carry_out_sync(
        requests.cancel(Names(), [job]), lambda _: next(answers), hint=lambda _: None
    )
    assert found == [Answer(job, False, "there is no such job")]
