"""What a queue may say of the executor `dask`: whoever declares one needs no Dask for that."""

import importlib.util
from typing import Any

import pytest

from chancy import Queue
from chancy_core.errors import BrokenOffer, InvalidValue
from chancy_core.executor import Capability
from chancy_core.installed import find_executor, open_executor
from chancy_executors.cluster import DaskExecutor, DaskOptions


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"address": "10.0.0.5:8786"}, r"address must be like tcp://.*, not '10.0.0.5:8786'"),
        ({"address": "tcp://"}, "address must be like"),
        ({"address": 8786}, "must be of type str, not int"),
        ({"workers": 0}, "workers must be 1 or more, or None, not 0"),
        ({"workers": "4"}, "must be of type int, not str"),
        ({"adaptive": [2, 1]}, r"adaptive must be the fewest processes, .*not \[2, 1\]"),
        ({"adaptive": [0, 0]}, r"adaptive must be the fewest processes, .*not \[0, 0\]"),
        ({"adaptive": [-1, 2]}, r"adaptive must be the fewest processes, .*not \[-1, 2\]"),
        ({"adaptive": [1]}, r"Not enough values in \[1\]"),
        ({"resources": {"GPU": 0}, "address": "tcp://a:1"}, "of 'GPU' each job takes more than 0"),
        ({"resources": {"GPU": "1"}, "address": "tcp://a:1"}, "must be of type float, not str"),
        ({"resources": {"GPU": 1}}, "give its address"),
        ({"workers": 2, "adaptive": [1, 2]}, "workers and adaptive exclude each other"),
        ({"workers": 2, "address": "tcp://a:1"}, "workers is about a cluster of the worker's own"),
        ({"adaptive": [1, 2], "address": "tcp://a:1"}, "adaptive is about a cluster of the worker"),
        ({"nodes": 7}, "nodes"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidValue, match=f"{problem}.* queue 'q': executor_options"):
        find_executor(Queue("q", executor="dask", executor_options=options))


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({}, DaskOptions()),
        ({"workers": 3}, DaskOptions(workers=3)),
        ({"adaptive": [0, 8]}, DaskOptions(adaptive=(0, 8))),
        (
            {"address": "tls://a:1", "resources": {"GPU": 1, "MEMORY": 4e9}},
            DaskOptions(address="tls://a:1", resources={"GPU": 1.0, "MEMORY": 4e9}),
        ),
    ],
)
def test_options_that_fit(options: dict[str, Any], made: DaskOptions) -> None:
    assert find_executor(Queue("q", executor="dask", executor_options=options)) == (
        DaskExecutor,
        made,
    )


async def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    queue = Queue("q", executor="dask")
    find_executor(queue)  # whoever only declares the queue needs no Dask
    with pytest.raises(BrokenOffer, match=r"pip install 'chancy\[dask\]'"):
        open_executor(queue)


def test_it_claims_no_more_than_it_does() -> None:
    remote = Capability.SYNC | Capability.ASYNC | Capability.REMOTE
    assert DaskExecutor.capabilities == remote
    assert DaskExecutor.outlives_worker(DaskOptions(address="tcp://10.0.0.5:8786"))
    assert not DaskExecutor.outlives_worker(DaskOptions())
