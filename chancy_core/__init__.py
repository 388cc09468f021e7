"""What a job is, how it is stored, claimed, run and settled.

The map of the house. Each floor may import from the floors below it and from
its own rooms, never from above; `lint-imports` holds everyone to it.

5  the doors         `chancy` (what applications import), `cli`, `testing` (what their tests import)
4  the main path     `app` and what can be asked of it (`calls` `bulk` `within` `transaction`
                     `sync` `door` `schema` `waiting` `given`), `worker` `life` `departure` `assign`
                     `wake` `claim` `lane` `run` `settle` `heartbeat` `watchdog` `notify` `signals`
                     `installed`, `roles` (who may do what in the database), `health` (of a
                     worker), `diagnosis` (of an installation)
3  what it uses      `store` (our tables and columns), `migrate`, `plugins` (the typed face of
                     the hooks), `supervise` (what keeps their services running)
2  mechanism         `postgres` (psycopg on anyio), `embedded` (a server out of
                     a wheel), `discovery` (entry points), `identity` (UUIDv7); none knows
                     what a job is
1  contracts         `executor` `statement` `function` `registry` `perform` `hookspecs` `hooks`
                     `host` `beside`: with floor 0, all that the author of a plugin or an
                     executor imports
0  values            `errors` `job` `reference` `options` `limit` `state` `queue` `filter`
                     `hint` `events` `outcome` `tags` `codec` `converter`: no I/O

The packages `chancy_plugins` and `chancy_executors` stand beside the house and
enter it by the same door as anybody's: entry points, and floors 0 and 1.
"""
