"""Real defects of a real system, the existing Chancy 0.26: each is a test here, by its number.

The docstring of a test begins with the numbers that it proves ours does not have, and says in a
sentence what the other system did. `test_named` sees to it that each has one.
"""

#: Its weaknesses, but those of leaders, workflows and the dashboard, which are not here.
WEAKNESSES = (
    *("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10", "W11", "W12", "W14", "W15"),
    *("W16", "W17", "W18", "W19", "W21", "W22", "W24", "W25", "W26", "W27"),
)
#: The attacks by which most of them were found, and what each did.
PROBES = {
    "b1": "a NUL in an exception",
    "b2": "SIGTERM with jobs in flight",
    "b3g-t4": "two leaders",
    "b3g-t5": "an outcome of the dead after their job was taken back",
    "b3g-t6": "a succeeded job is cancelled",
    "b3g-t7": "an invalid tag pattern in one row",
    "b4-t8": "the database crashes while jobs run",
    "b4-t9": "a rate limit, and workers whose clocks are apart",
    "b4-t10": "os._exit in a process executor",
    "b4-t11": "a time limit in a thread",
    "b5-listen": "the connection that listens is terminated",
    "b5-restart": "the database restarts within a second",
    "b6": "a blocked event loop, for longer than a lease",
    "s1-notify": "a notification forged by a role without grants",
    "s1-path": "the path of any function as the name of one",
    "s2": "a running job is cancelled",
}
EVERY = (*WEAKNESSES, *PROBES)
