"""Which functions may run as jobs: those that the code of this process registered with `@job`.

A job's row holds the *name* of its function. A name is looked up here and nowhere else: nothing
is imported because a row says so.
"""

import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType, ModuleType
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from chancy_core.errors import ChancyError, InvalidJob, UnknownFunction
from chancy_core.function import JobFunction
from chancy_core.job import Job, JobOptions
from chancy_core.versions import Upcaster

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("chancy.jobs")

#: By their names, and by those that they had before.
_functions: dict[str, JobFunction[..., Any]] = {}
#: The module that is being loaded for its jobs, in a process that runs them for another.
_loading: list[str] = []
#: The modules that `import_jobs` was told of, in their order.
_modules: dict[str, None] = {}
#: What stands for the path of such a module.
_NAMED = ""


@overload
def job(func: Callable[P, R], /) -> JobFunction[P, R]: ...
@overload
def job(
    *,
    name: str | None = None,
    aliases: str | Iterable[str] = (),
    version: int = 1,
    upcasters: Mapping[int, Upcaster] = {},
    needs: str | Iterable[str] = (),
    **options: Unpack[JobOptions],
) -> Callable[[Callable[P, R]], JobFunction[P, R]]: ...
def job(
    func: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    aliases: str | Iterable[str] = (),
    version: int = 1,
    upcasters: Mapping[int, Upcaster] = {},
    needs: str | Iterable[str] = (),
    **options: Unpack[JobOptions],
) -> Any:
    """Register a function, so that workers of this code may run it as a job.

        @job(queue="mail", max_attempts=5)
        async def welcome(address: str) -> None: ...

        await chancy.push(welcome.bind(address="ada@example.org"))

    *options* are the settings of `Job`. The name is the function's module and qualified name
    unless *name* is given; a script's `__main__` is written as its own name. A keyword-only
    parameter whose default is `INJECTED` is given the running job, a `QueuedJob`.

    *needs* names what the executor of its queue must be able to do, such as `"hard-kill"` or
    `{"hard-kill", "memory-limit"}`: on another the job fails at once, and where the queue was
    declared by the same application, the push is refused.

    *aliases* are names that the function had before: jobs that are in the database under one of
    them find it, and nothing is pushed under them.

    *version* is that of its arguments, which jobs carry with them. It is raised when a change of
    the signature leaves jobs behind that do not fit any more, and *upcasters* has for each version
    before it a function that makes of a dict of such arguments, as plain JSON data, a dict of the
    next: `version=2, upcasters={1: add_a_currency}`.

    Raises `InvalidJob` when another function has one of the names already, for an option that does
    not exist, for a version to which some older one could not be lifted, for a generator or a
    method, and for positional-only or `*args` parameters, which no job can fill.
    """

    def register(func: Callable[P, R]) -> JobFunction[P, R]:
        if not callable(func) or isinstance(func, JobFunction | type):
            raise InvalidJob(f"@job decorates functions that are no jobs yet, and not {func!r}")
        made = JobFunction(
            func,
            name or default_name(func),
            options,
            needs,
            aliases=aliases,
            version=version,
            upcasters=upcasters,
        )
        _take(made)
        return made

    return register if func is None else register(func)


def _take(made: JobFunction[..., Any]) -> None:
    """Register a function under its names, or under none if another has one of them."""
    names = (made.name, *made.aliases)
    for name in names:
        other = _functions.get(name)
        if other is None or (other.name, _place(other.func)) == (made.name, _place(made.func)):
            continue  # as when a module is loaded once more
        which = "" if other.name == made.name else f", {other.name!r} and {made.name!r}"
        raise InvalidJob(
            f"two functions want to be the job {name!r}{which}: {_place(other.func)} and "
            f"{_place(made.func)}; give one of them @job(name=...), or another alias"
        )
    before = _functions.get(made.name)
    for alias in before.aliases if before else ():
        _functions.pop(alias, None)
    _functions.update(dict.fromkeys(names, made))


def _place(func: Callable[..., Any]) -> str:
    code = getattr(func, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(func)


def default_name(func: Callable[..., Any]) -> str:
    """Return `module.qualname`, with `__main__` written as the script's own name."""
    module, name = func.__module__, getattr(func, "__qualname__", None)
    if name is None:
        raise InvalidJob(f"{func!r} has no name of its own: give it one by @job(name=...)")
    if module == "__main__":
        module = main_name()
    return f"{module.removesuffix('.__main__')}.{name}"


def main_name() -> str:
    """Return the name of the running script: of its spec (`python -m`), or its file's stem."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    from pathlib import Path  # a twentieth of what `import chancy` would take

    return Path(getattr(main, "__file__", None) or "__main__").stem


def lookup(name: str) -> JobFunction[..., Any]:
    """Return the function registered as *name*, or of which this is an alias.

    Raises `UnknownFunction` when this process has registered no such function.
    """
    try:
        return _functions[name]
    except KeyError:
        raise UnknownFunction(
            f"no function is registered as {name!r} here; decorate it with @job and name its "
            "module in Chancy(..., jobs=[...]), or have it among the aliases of what it is now"
        ) from None


def registered() -> list[str]:
    """Return the names of all functions that this process has registered, sorted."""
    return sorted(name for name, made in _functions.items() if name == made.name)


def canonical(name: str) -> str:
    """Return the name that a function has now which jobs call *name*; unknown ones stay.

    The row of a job keeps the name under which it was pushed: who goes by the names of functions,
    such as a plugin with settings for each, asks here.
    """
    made = _functions.get(name)
    return name if made is None else made.name


def within_job(frame: FrameType | None) -> bool:
    """Whether a stack leads through a function that is registered here."""
    ours = {getattr(inspect.unwrap(made.func), "__code__", None) for made in _functions.values()}
    while frame is not None:
        if frame.f_code in ours:
            return True
        frame = frame.f_back
    return False


def find(name: str) -> JobFunction[..., Any] | None:
    """Return the function registered as *name*, or of which this is an alias, or None."""
    return _functions.get(name)


def check_call(job: Job) -> None:
    """Raise `InvalidJob` if the job's arguments are not those that its function takes.

    Their names are compared with the signature, if this process has registered the function: of
    older arguments once they are lifted. Those of a newer version are for newer code to judge.
    Raises `InvalidValue` when they cannot be lifted.
    """
    made = _functions.get(job.func)
    if made is None:
        return
    if job.version == made.version:
        made.check(job.kwargs)
    elif job.version < made.version:
        made.lift(job.kwargs, job.version)


def import_jobs(modules: Iterable[str]) -> None:
    """Import the modules that register jobs: here, and in child processes before all others.

    One in which no function is decorated with `@job` offers its own public functions, as
    `acme.mail.send`.
    """
    for name in modules:
        _offer(importlib.import_module(name))
        _modules[name] = None  # last: no child process is told of one that cannot be imported


def _offer(module: ModuleType) -> None:
    within = f"{module.__name__}."
    if any(f"{made.func.__module__}.".startswith(within) for made in _functions.values()):
        return  # its author, or that of a module inside of it, has said what may run
    public = getattr(module, "__all__", None)
    for name, func in list(vars(module).items()):
        own = inspect.isfunction(func) and func.__module__ == module.__name__
        if not own or (name.startswith("_") if public is None else name not in public):
            continue
        try:
            made = JobFunction(func, within + name)
        except InvalidJob as exc:
            log.debug("%s is offered as no job: %s", within + name, exc)
        else:
            _take(made)


def sources() -> list[tuple[str, str | None]]:
    """Return where the registered functions come from, for a child process to load them.

    Pairs for `load_sources`: of a module's name and, for the running script, the path of its
    file; first those that `import_jobs` was told of, in that order.
    """
    found: dict[str, str | None] = {}
    for made in _functions.values():
        module = made.func.__module__
        if module == "__main__":
            spec = getattr(sys.modules["__main__"], "__spec__", None)
            path = getattr(sys.modules["__main__"], "__file__", None)
            found[spec.name if spec else main_name()] = None if spec else path
        else:
            found[module] = None
    rest = sorted((module, path) for module, path in found.items() if module not in _modules)
    return [(module, _NAMED) for module in _modules] + rest


def load_sources(pairs: Iterable[tuple[str, str | None]]) -> None:
    """Load what `sources` named: modules by name, a script by its path under its own name."""
    for module, path in pairs:
        _loading.append(module)
        try:
            if path == _NAMED:
                import_jobs([module])
            elif path is None:
                importlib.import_module(module)
            elif module not in sys.modules:
                _load_script(module, path)
        finally:
            _loading.pop()


def _load_script(module: str, path: str) -> None:
    from importlib import util

    spec = util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load the script {path}")
    sys.modules[module] = loaded = util.module_from_spec(spec)
    spec.loader.exec_module(loaded)


def check_loaded() -> None:
    """Raise `ChancyError` while a module is being loaded for its jobs, as `load_sources` does.

    A script without a guard would push its jobs once more there, start another worker, and that
    one the next.
    """
    if _loading:
        raise ChancyError(
            f"{_loading[-1]!r} is only loaded here for the jobs that it registers: what it does "
            'when it is started belongs behind `if __name__ == "__main__":`'
        )
