// What the scripts of the peers in Node share: as `side.py` does for those in Python.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const from = createRequire(`${process.env.CHANCY_BENCHMARK_MODULES}/`);

/** Import a package out of the peer's own folder. */
export const load = (name) => import(pathToFileURL(from.resolve(name)));

const { default: pg } = await load("pg");
const told = process.env.CHANCY_BENCHMARK_DSN;

/** The DSN, written as libpq does (`host=/x dbname=y`), as Node's driver takes it. */
export const connection = told.includes("://")
  ? { connectionString: told }
  : Object.fromEntries(
      [...told.matchAll(/(\w+)=('[^']*'|\S+)/g)].map(([, name, value]) => [
        name === "dbname" ? "database" : name,
        value.replace(/^'|'$/g, ""),
      ]),
    );

const client = new pg.Client(connection);
await client.connect();

export { pg };
export const ask = async (sql) => (await client.query(sql)).rows;
export const count = async (sql) => Number(Object.values((await ask(sql))[0])[0]);

/** Look each 10 ms whether `left` finds a row that has no outcome yet; the time when none does. */
export async function untilDone(left) {
  while ((await ask(`SELECT EXISTS (${left}) AS left`))[0].left) {
    await new Promise((done) => setTimeout(done, 10));
  }
  return performance.now();
}

/** Run the cell that was asked for, print jobs per second, committed, and leave. */
export async function main(cells) {
  const [cell, size] = process.argv.slice(-2);
  const jobs = Number(size);
  const { milliseconds, done } = await cells[cell](jobs);
  if (done !== jobs) {
    console.error(`${done} of ${jobs} jobs are there`);
    process.exit(1);
  }
  console.log(JSON.stringify({ rate: (1000 * jobs) / milliseconds }));
  process.exit(0);
}
