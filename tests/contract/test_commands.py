"""The executor `subprocess`: what a job's command is given, and what is told of it."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from chancy import Limit, Queue
from chancy_core.errors import InvalidValue
from chancy_core.installed import find_executor
from chancy_core.life import UNWINDING
from chancy_core.outcome import Kind
from chancy_executors.allowed import MOST_GRACE
from tests.lines import allowing, asked, failure, python, ran, result, sh

pytestmark = pytest.mark.anyio

#: A command that writes its arguments.
ARGUMENTS = python("import json, sys; json.dump(sys.argv[1:], sys.stdout)", args=10)


async def test_the_result_is_the_status_and_what_it_wrote(anyio_backend: str) -> None:
    outcome = await ran(anyio_backend, sh("printf out; printf err >&2"))
    assert result(outcome) == {"status": 0, "stdout": "out", "stderr": "err"}


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo no way >&2; exit 3", "it left with status 3: no way"),
        ("exit 255", "it left with status 255, and said nothing on stderr"),
        ("echo no >&2; kill -9 $$", "it was killed by SIGKILL: no"),
        ("kill -40 $$", "it was killed by signal 40, and said nothing on stderr"),
    ],
)
async def test_what_is_no_success_is_an_error_that_counts(
    script: str, told: str, anyio_backend: str
) -> None:
    outcome = await ran(anyio_backend, sh(script))
    assert failure(outcome) == (Kind.ERROR, 1, told)
    assert outcome.failure is not None
    assert outcome.failure.type == "CommandFailed"


async def test_an_error_has_the_end_of_what_was_said(anyio_backend: str) -> None:
    code = "import sys; sys.exit('x' * 5000 + 'the reason')"
    _, _, told = failure(await ran(anyio_backend, python(code)))
    assert told == f"it left with status 1: ...{'x' * 1990}the reason"


async def test_a_queue_says_which_statuses_are_a_success(anyio_backend: str) -> None:
    assert result(await ran(anyio_backend, sh("exit 3", statuses=[1, 3])))["status"] == 3
    kind, _, _ = failure(await ran(anyio_backend, sh("exit 0", statuses=[1, 3])))
    assert kind is Kind.ERROR


async def test_arguments_arrive_as_they_are_and_no_shell_sees_them(
    anyio_backend: str, tmp_path: Path
) -> None:
    args = ["a b", "$HOME", "*", f"; touch {tmp_path}/x", f"`touch {tmp_path}/y`", "'\"", "", "-ü"]
    outcome = await ran(anyio_backend, ARGUMENTS | {"folder": str(tmp_path)}, args=args)
    assert json.loads(result(outcome)["stdout"]) == args
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"args": ["secret"] * 11}, "it: queue 'lines' allows 10 arguments of a job's own, not 11"),
        ({"args": "secret"}, "it must be a list, not str @ arguments of it.args"),
        ({"args": [{"secret": 1}]}, "it must be of type str, not dict @ arguments of it.args[0]"),
        ({"stdin": ["secret"]}, "it must be of type str, not list @ arguments of it.stdin"),
        ({"shell": "secret"}, "shell"),
    ],
)
async def test_arguments_that_it_does_not_take_are_the_jobs_error(
    kwargs: dict[str, Any], told: str, anyio_backend: str
) -> None:
    outcome = await ran(anyio_backend, ARGUMENTS, **kwargs)
    kind, attempt, said = failure(outcome)
    assert (kind, attempt) == (Kind.ERROR, 1)
    assert told in said
    assert "secret" not in said
    assert outcome.failure is not None
    assert outcome.failure.type == "InvalidValue"
    assert "secret" not in outcome.failure.traceback


async def test_unless_its_queue_says_so_a_job_adds_no_argument(anyio_backend: str) -> None:
    _, _, said = failure(await ran(anyio_backend, sh("exit 0"), args=["-x"]))
    assert "allows 0 arguments" in said


@pytest.mark.skipif(sys.platform != "linux", reason="others take more")
async def test_arguments_that_the_system_does_not_take_are_the_jobs_error(
    anyio_backend: str,
) -> None:
    kind, _, said = failure(await ran(anyio_backend, ARGUMENTS, args=["x" * 200_000]))
    assert (kind, said) == (Kind.ERROR, "it: its arguments are longer than a system takes")


@pytest.mark.parametrize("script", ["cat", "cat /dev/stdin"])
@pytest.mark.parametrize("text", ["", "ü\n" * 100_000])
async def test_it_reads_what_the_job_gives_it(script: str, text: str, anyio_backend: str) -> None:
    outcome = await ran(anyio_backend, sh(f"{script} | cksum"), stdin=text)
    done = subprocess.run(["cksum"], input=text.encode(), capture_output=True, check=True)
    assert result(outcome)["stdout"] == done.stdout.decode()


async def test_without_a_text_there_is_nothing_to_read(anyio_backend: str) -> None:
    assert result(await ran(anyio_backend, sh("cat; echo over")))["stdout"] == "over\n"


async def test_a_text_that_nobody_reads_holds_up_nothing(anyio_backend: str) -> None:
    assert result(await ran(anyio_backend, sh("exit 0"), stdin="x" * 900_000))["status"] == 0


async def test_of_the_workers_environment_it_has_what_it_needs(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"CHANCY_DSN", "DATABASE_URL", "PGPASSWORD", "ACME_SECRET"}
    for name in (*secrets, "ACME_TOKEN", "LC_TIME", "TZ", "TMPDIR", "LANG", "HOME"):
        monkeypatch.setenv(name, f"the worker's {name}")
    own = {"ACME": "a=b", "TZ": "Z"}
    command = {"argv": ["env"], "environment": own, "inherit": ["ACME_TOKEN"]}
    said = result(await ran(anyio_backend, command))["stdout"]
    seen = dict(line.split("=", 1) for line in said.splitlines())
    assert not secrets & seen.keys()
    for name in ("ACME_TOKEN", "LC_TIME", "TMPDIR", "LANG", "HOME"):
        assert seen[name] == f"the worker's {name}"
    assert (seen["ACME"], seen["TZ"], seen["PATH"]) == ("a=b", "Z", os.environ["PATH"])


async def test_it_runs_in_its_folder(anyio_backend: str, tmp_path: Path) -> None:
    outcome = await ran(anyio_backend, {"argv": ["pwd", "-P"], "folder": str(tmp_path)})
    assert result(outcome)["stdout"] == f"{tmp_path.resolve()}\n"


async def test_its_program_is_looked_for_on_its_own_path(
    anyio_backend: str, tmp_path: Path
) -> None:
    tool = tmp_path / "acme-tool"
    tool.write_text("#!/bin/sh\necho used\n")
    tool.chmod(0o755)
    command = {"argv": ["acme-tool"], "environment": {"PATH": f"{tmp_path}:{os.environ['PATH']}"}}
    assert result(await ran(anyio_backend, command))["stdout"] == "used\n"


async def test_a_command_that_cannot_be_started_here_is_for_another_worker(
    anyio_backend: str, tmp_path: Path
) -> None:
    plain, broken = tmp_path / "plain", tmp_path / "broken"
    for file, mode in ((plain, 0o644), (broken, 0o755)):
        file.write_bytes(b"\x7fELF of no machine")
        file.chmod(mode)
    for command, told in (
        ({"argv": ["acme-tool"]}, "it: there is no program 'acme-tool' here"),
        ({"argv": [str(plain)]}, f"it: there is no program '{plain}' here"),
        ({"argv": [str(broken)]}, "it cannot be started here: [Errno 8]"),
        (sh("exit 0", folder=str(tmp_path / "no")), f"No such file or directory: '{tmp_path}/no'"),
    ):
        kind, attempt, said = failure(await ran(anyio_backend, command))
        assert (kind, attempt) == (Kind.UNPREPARED, 0)
        assert told in said


async def test_a_command_that_its_queue_does_not_allow_is_unknown(anyio_backend: str) -> None:
    async with allowing(anyio_backend, {"b": sh("exit 0"), "a": sh("exit 0")}) as executor:
        told = failure(await asked("sh", args=["-c", "exit 0"]).run(executor))
    allowed = "queue 'lines' allows no command 'sh'; it allows a, b"
    assert told == (Kind.UNKNOWN_FUNCTION, 0, allowed)


async def test_a_memory_limit_is_refused(anyio_backend: str) -> None:
    kind, attempt, said = failure(
        await ran(anyio_backend, sh("exit 0"), Limit(Limit.Type.MEMORY, 1e9))
    )
    assert (kind, attempt) == (Kind.UNSUPPORTED, 0)
    assert "it has a memory limit" in said


async def test_megabytes_of_output_are_not_kept(anyio_backend: str) -> None:
    zeros = "head -c 20000000 /dev/zero"
    script = f"{zeros} | tr '\\0' x; printf end; {zeros} | tr '\\0' y >&2"
    tracemalloc.start()
    try:
        told = result(await ran(anyio_backend, sh(script), max_output=1000))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told["stdout"] == f"[19,999,003 bytes cut]\n{'x' * 997}end"
    assert told["stderr"] == f"[19,999,000 bytes cut]\n{'y' * 1000}"
    assert most < 5_000_000


@pytest.mark.parametrize(
    ("size", "text"), [(20, "é" * 10), (5, "[16 bytes cut]\néé"), (0, "[20 bytes cut]\n")]
)
async def test_what_is_cut_begins_with_a_whole_character(
    size: int, text: str, anyio_backend: str
) -> None:
    outcome = await ran(anyio_backend, sh(f"printf {'é' * 10}"), max_output=size)
    assert result(outcome)["stdout"] == text


async def test_output_that_is_no_text_is_kept_as_one(anyio_backend: str) -> None:
    outcome = await ran(anyio_backend, sh(r"printf 'a\000b\377c'"))
    assert result(outcome)["stdout"] == "a\\x00b\ufffdc"


async def test_the_largest_output_fits_a_result(anyio_backend: str) -> None:
    code = "import os\nfor fd in 1, 2, 1, 2: os.write(fd, b'\\1' * 40_000)"
    told = result(await ran(anyio_backend, python(code), max_output=80_000))
    assert (told["stdout"], told["stderr"]) == ("\1" * 80_000,) * 2


COMMAND = {"argv": ["true"]}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "required field missing @"),
        ({"commands": {}}, "commands must allow at least one"),
        ({"commands": {"a": {"argv": []}}}, "argv must be a list that begins with a program"),
        ({"commands": {"a": {"argv": ["bin/tool"]}}}, r"absolute path, not \['bin/tool'\]"),
        ({"commands": {"a": {"argv": "true"}}}, "it must be a list, not str"),
        ({"commands": {"a": COMMAND | {"args": -1}}}, "from 0, not -1"),
        ({"commands": {"a": COMMAND | {"args": True}}}, "must be of type int, not bool"),
        ({"commands": {"a": COMMAND | {"folder": "srv"}}}, "absolute path, not 'srv'"),
        ({"commands": {"a": COMMAND | {"statuses": []}}}, r"from 0 to 255, not \[\]"),
        ({"commands": {"a": COMMAND | {"statuses": [256]}}}, r"from 0 to 255, not \[256\]"),
        ({"commands": {"a": COMMAND | {"environment": {"A=B": ""}}}}, "environment: a variable"),
        ({"commands": {"a": COMMAND | {"inherit": [""]}}}, "inherit: a variable"),
        ({"commands": {"a": COMMAND | {"shell": True}}}, "shell"),
        ({"commands": {"a": COMMAND}, "max_output": 80_001}, "0 to 80,000 bytes, not 80,001"),
        ({"commands": {"a": COMMAND}, "grace": 2}, "0 to 0.5 seconds.* not 2"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidValue, match=f"{problem}.* queue 'q': executor_options"):
        find_executor(Queue("q", executor="subprocess", executor_options=options))


def test_a_worker_that_stops_waits_for_the_longest_grace() -> None:
    assert MOST_GRACE < UNWINDING
