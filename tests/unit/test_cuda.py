"""How a kernel is run through the CUDA driver, tried on a library that stands in for it.

That it runs on a GPU, `tests/acceptance/test_gpu.py` sees where there is one.
"""

from array import array
from ctypes import CDLL, c_char_p, c_int
from pathlib import Path

import pytest

from tests.gpu import cuda, stand_in
from tests.gpu.cuda import CudaError, Driver

#: What is called for one kernel, in this order; the last five give back what was taken.
CALLS = [
    "cuInit",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuMemAlloc_v2",
    "cuMemcpyHtoD_v2",
    "cuMemAlloc_v2",
    "cuMemcpyHtoD_v2",
    "cuLaunchKernel",
    "cuCtxSynchronize",
    "cuMemcpyDtoH_v2",
    "cuMemFree_v2",
    "cuMemFree_v2",
    "cuModuleUnload",
    "cuCtxSetCurrent",
    "cuDevicePrimaryCtxRelease_v2",
]
#: How many things stay held if nothing is given back by these.
KEEPS = {"cuMemFree_v2": 2, "cuModuleUnload": 1, "cuDevicePrimaryCtxRelease_v2": 1}
OUT_OF_MEMORY, UNHEARD_OF = 2, 12345


class StandIn:
    """The library, and what it says of how it was used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.library = CDLL(str(path))
        self.library.stand_in_begin.argtypes = [c_char_p, c_int, c_int]
        self.library.stand_in_calls.restype = c_char_p

    def begin(self, fails: str = "", status: int = 0, devices: int = 1) -> Driver:
        self.library.stand_in_begin(fails.encode(), status, devices)
        return Driver(self.library)

    @property
    def calls(self) -> list[str]:
        return self.library.stand_in_calls().decode().split()

    @property
    def held(self) -> int:
        return self.library.stand_in_held()


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return StandIn(stand_in.built(tmp_path_factory.mktemp("cuda")))


@pytest.fixture(autouse=True)
def _visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def numbers(size: int) -> tuple["array[float]", "array[float]"]:
    return array("f", range(size)), array("f", [7]) * size


@pytest.mark.parametrize("size", [1, 255, 256, 257, 100_000])
def test_a_kernel_computes_each_number_and_all_is_given_back_in_reverse(
    gpu: StandIn, size: int
) -> None:
    x, y = numbers(size)
    assert cuda.saxpy(gpu.begin(), 3, x, y) == "Stand-in"
    assert y.tolist() == [3 * n + 7 for n in range(size)]
    assert x.tolist() == list(range(size))
    assert gpu.calls == CALLS
    assert gpu.held == 0


@pytest.mark.parametrize("fails", sorted(set(CALLS)))
def test_whatever_fails_is_named_and_all_else_is_given_back(gpu: StandIn, fails: str) -> None:
    driver = gpu.begin(fails, OUT_OF_MEMORY)
    with pytest.raises(CudaError, match=f"^{fails}: CUDA_ERROR_OUT_OF_MEMORY$"):
        cuda.saxpy(driver, 3, *numbers(10))
    assert gpu.held == KEEPS.get(fails, 0)


def test_an_error_that_the_driver_has_no_name_for_is_told_by_its_number(gpu: StandIn) -> None:
    driver = gpu.begin("cuInit", UNHEARD_OF)
    with pytest.raises(CudaError, match=r"^cuInit: error 12345$"):
        driver.devices()


def test_what_is_no_ptx_is_refused(gpu: StandIn) -> None:
    driver = gpu.begin()
    with (
        pytest.raises(CudaError, match=r"^cuModuleLoadData: CUDA_ERROR_INVALID_PTX$"),
        driver.first_device(),
        driver.kernel(cuda.SAXPY.read_bytes()[:-3], b"saxpy"),
    ):
        pass
    assert gpu.held == 0


def test_why_there_is_no_gpu(gpu: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu.begin()
    assert cuda.missing(str(gpu.path)) is None
    gpu.begin(devices=0)
    assert cuda.missing(str(gpu.path)) == "no GPU here: 0 devices"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert cuda.missing(str(gpu.path)) == "no GPU here: cuInit: CUDA_ERROR_NO_DEVICE"
    nowhere = "libcuda-of-nobody.so"
    assert cuda.missing(nowhere) == f"no GPU here: {nowhere} cannot be loaded"
