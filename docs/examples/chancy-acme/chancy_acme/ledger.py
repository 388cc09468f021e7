"""Writes down whose jobs have succeeded, in the transaction that settles them."""

from collections.abc import Iterable, Sequence
from contextvars import ContextVar

import anyio
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service, WorkerHost
from chancy_core.job import State
from chancy_core.outcome import Settlement
from chancy_core.statement import Names, Statement, nothing

#: In whose name jobs are pushed here.
tenant = ContextVar("tenant", default="nobody")

ADD = """INSERT INTO {acme_ledger} (job, tenant)
         SELECT * FROM unnest(%(jobs)s::uuid[], %(tenants)s::text[])"""
FORGET = "DELETE FROM {acme_ledger} WHERE settled < {now}() - interval '1 year'"


@hookimpl
def chancy_job_meta() -> dict[str, str]:
    return {"tenant": tenant.get()}


@hookimpl
def chancy_settling(settled: Sequence[Settlement], names: Names) -> Iterable[Statement[None]]:
    done = [one.job for one in settled if one.verdict.state is State.SUCCEEDED]
    tenants = [str(job.meta.get("tenant", "nobody")) for job in done]
    params = {"jobs": [job.id for job in done], "tenants": tenants}
    return [Statement.written(ADD, names, params, nothing)]


@hookimpl
def chancy_worker_services(worker: WorkerHost) -> Iterable[Service]:
    async def forget() -> None:
        database = worker.chancy.database
        while True:
            await database.run(Statement.written(FORGET, database.names, {}, nothing))
            await anyio.sleep(3600)

    return [Service("acme-ledger", forget)]
