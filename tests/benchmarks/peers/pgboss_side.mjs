// pg-boss: as in its own speed test, batches of 5,000, ten connections. A batch has one handler and one
// outcome for all of its jobs, which others have for each.

import { ask, connection, count, load, main, untilDone } from "./side.mjs";

const { PgBoss } = await load("pg-boss");
const BATCH = 5000;

async function pushed(jobs) {
  const boss = new PgBoss({ ...connection, min: 10, max: 10 });
  boss.on("error", console.error);
  await boss.start();
  await boss.createQueue("q");
  const begin = performance.now();
  await boss.insert("q", Array.from({ length: jobs }, (_, number) => ({ data: { number } })));
  return [boss, performance.now() - begin];
}

async function push(jobs) {
  const [, milliseconds] = await pushed(jobs);
  return { milliseconds, done: await count("SELECT count(*) FROM pgboss.job") };
}

async function drain(jobs) {
  const [boss] = await pushed(jobs);
  await ask("VACUUM ANALYZE pgboss.job");
  const begin = performance.now();
  const how = { batchSize: BATCH, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
  await boss.work("q", how, async (batch) => {
    for (const { data } of batch) await data;
  });
  const end = await untilDone("SELECT FROM pgboss.job WHERE state < 'completed'");
  const done = await count("SELECT count(*) FROM pgboss.job WHERE state = 'completed'");
  return { milliseconds: end - begin, done };
}

await main({ push, drain });
