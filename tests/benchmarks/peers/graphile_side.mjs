// graphile-worker: as in its own performance test, a local queue of 500, 24 at once, outcomes in
// batches. A finished job is deleted there: that is its outcome. Its own test has four such processes;
// here it has one, as all others.

import { ask, connection, count, load, main, pg, untilDone } from "./side.mjs";

const { Logger, makeWorkerUtils, run } = await load("graphile-worker");
const CONCURRENCY = 24;
const LEFT = "SELECT FROM graphile_worker._private_jobs";
const logger = new Logger(() => () => {}); // else it says something of each job
const pool = () => new pg.Pool({ ...connection, max: CONCURRENCY + 1 });

async function pushed(jobs) {
  const utils = await makeWorkerUtils({ pgPool: pool(), logger });
  await utils.migrate();
  const begin = performance.now();
  await utils.addJobs(
    Array.from({ length: jobs }, (_, number) => ({ identifier: "nothing", payload: { number } })),
  );
  return performance.now() - begin;
}

async function push(jobs) {
  const milliseconds = await pushed(jobs);
  return { milliseconds, done: await count(`SELECT count(*) FROM (${LEFT}) AS jobs`) };
}

async function drain(jobs) {
  await pushed(jobs);
  await ask("VACUUM ANALYZE graphile_worker._private_jobs");
  let ran = 0;
  const begin = performance.now();
  await run({
    pgPool: pool(),
    logger,
    noHandleSignals: true,
    preset: {
      worker: {
        concurrentJobs: CONCURRENCY,
        localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
    taskList: {
      nothing: async () => {
        ran += 1;
      },
    },
  });
  return { milliseconds: (await untilDone(LEFT)) - begin, done: ran };
}

await main({ push, drain });
