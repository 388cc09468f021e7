"""The core under attack: faults, and what must hold through them.

`record` is where processes write down what they do, `transitions` where the database writes down
what becomes of each job, `history` joins the two, and `judge` finds what breaks a law. `nursery`,
`member` and `armada` are worker processes that can be killed, frozen and cut off; `cluster` is a
server that can. `ailments`, `holding` and `clocks` harm a worker from within its process. `sizes`
says how often. Run by `pytest -m faults`, and at the size of a release by
`python -m tests.faults.release`.
"""
