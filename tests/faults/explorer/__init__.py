"""All orders of the statements of two or three sessions, and what must hold after each.

A `Programme` is a `situation` (three jobs, and who holds them) and `operations` that meet in it,
each in a session of its own. An operation is the code that workers and applications run, on a
`Wire` instead of a pool: each of its statements, and each COMMIT, is a step. `play` carries out one
order of the steps on real connections; who waits for a lock lets others go on, as in PostgreSQL's
isolationtester. `search` goes through the orders, and `laws` say what is wrong with what was
`Played`; of an order that goes wrong the shortest beginning that shows it is told, step by step.

An order is written as a word, `ABBA`: whose step comes first, second, and so on. The word, the
situation and the operations reproduce it:

    python -m tests.faults.explorer running cancel leave ABABBB

To add an operation, write a coroutine in `operations` that takes a `Part`, and mark it with the
situations in which it has something to do:

    @operation("pending")
    async def cancel(part: Part) -> Any:
        return await part.ask(requests.cancel(NAMES, part.ids))

It meets all others from then on. What it answers is checked by a function in `laws`.
"""
