"""Names of functions that nobody registered, by the thousand."""

import random
from collections.abc import Iterator

#: What the worker's code has registered, among others.
REGISTERED = "target.double"
LISTED = (
    "os.system", "os.popen", "subprocess.run", "asyncio.create_subprocess_shell", "builtins.eval",
    "builtins.exec", "builtins.__import__", "__import__", "eval", "importlib.import_module",
    "canary", "canary.sing", "canary:sing", "target", "target.", ".target.double", "target..double",
    "target.secret", "target._hidden", "target:double", "target/double", "target.double.func",
    "target.double.__call__", "target.double.__globals__", "target.double.func.__globals__",
    "target.os.system", "target.canary", "target.Thing", "target.Thing.method", "target.imported",
    "__main__.double", "__main__", "__main__.os.system", "double", "Target.Double",
    "target.double()", "target.double\n", " target.double", "target.double ", "../target",
    "target.double;os.system",
    "chancy_core.registry._functions", "chancy_core.registry.job", "chancy.job", "site.main",
    "this", "antigravity", "target.double\u200b", "t\u0430rget.double", "\uff54arget.double",
    "%s", "{}",
    "{0.__class__.__mro__}", "%(target.double)s", "lambda: 1", "__import__('os').system('id')",
    "'; DROP TABLE chancy_jobs; --", "$(touch x)", "`touch x`", "a" * 999, "\u202e", "\U0001f600",
)  # fmt: skip
MODULES = ("os", "sys", "subprocess", "builtins", "target", "canary", "chancy", "__main__", "this")
WORDS = ("system", "double", "secret", "sing", "__globals__", "__class__", "func", "run", "eval")
ALIKE = str.maketrans("aceopxy", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443")


def names(count: int) -> Iterator[str]:
    """Yield *count* different ones, the same in each run."""
    chance = random.Random(7)
    found = dict.fromkeys(LISTED)
    while len(found) <= count:
        parts = [chance.choice(MODULES), *chance.choices(WORDS, k=chance.randint(1, 4))]
        found[chance.choice((_dotted, _alike, _misspelt))(chance, parts)] = None
        found.pop(REGISTERED, None)
    yield from list(found)[:count]


def _dotted(chance: random.Random, parts: list[str]) -> str:
    return chance.choice((".", ".", ":", "..", "/", "::")).join(parts)


def _alike(chance: random.Random, parts: list[str]) -> str:
    """The registered name, or another, in letters that only look like it."""
    name = chance.choice((REGISTERED, ".".join(parts)))
    place = chance.randrange(len(name))
    return name[:place] + name[place:].translate(ALIKE) + chance.choice(("", "\u200d", "\ufeff"))


def _misspelt(chance: random.Random, _: list[str]) -> str:
    """The registered name with something in it that does not belong there."""
    place = chance.randrange(len(REGISTERED) + 1)
    wrong = chance.choice((" ", "\t", "_", "\u200b", "\u00ad", "\u0301", "(", "x", "."))
    return REGISTERED[:place] + wrong + REGISTERED[place + chance.randint(0, 1) :]
