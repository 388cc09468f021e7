"""The CUDA driver by ctypes: as much of it as runs one kernel, and no toolkit.

    python -m tests.gpu.cuda        prints why nothing can be computed here, or an empty line

Each thing that is taken from the driver is given back in reverse, whatever happens meanwhile.
"""

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import (
    CDLL,
    POINTER,
    addressof,
    byref,
    c_char_p,
    c_float,
    c_int,
    c_size_t,
    c_uint,
    c_uint64,
    c_void_p,
    create_string_buffer,
)
from pathlib import Path
from typing import Any

LIBRARY = "libcuda.so.1"
SAXPY = Path(__file__).with_name("saxpy.ptx")
#: The threads of a block.
BLOCK = 256

#: What each function takes, as `cuda.h` has it. A CUdevice is an int, a CUdeviceptr has 64 bits,
#: and contexts, modules, functions and streams are pointers. Each answers a CUresult, an int.
SIGNATURES: dict[str, list[Any]] = {
    "cuInit": [c_uint],
    "cuGetErrorName": [c_int, POINTER(c_char_p)],
    "cuDeviceGetCount": [POINTER(c_int)],
    "cuDeviceGet": [POINTER(c_int), c_int],
    "cuDeviceGetName": [c_char_p, c_int, c_int],
    "cuDevicePrimaryCtxRetain": [POINTER(c_void_p), c_int],
    "cuDevicePrimaryCtxRelease_v2": [c_int],
    "cuCtxSetCurrent": [c_void_p],
    "cuCtxSynchronize": [],
    "cuModuleLoadData": [POINTER(c_void_p), c_char_p],  # a text, which ends with a NUL
    "cuModuleGetFunction": [POINTER(c_void_p), c_void_p, c_char_p],
    "cuModuleUnload": [c_void_p],
    "cuMemAlloc_v2": [POINTER(c_uint64), c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemcpyHtoD_v2": [c_uint64, c_void_p, c_size_t],
    "cuMemcpyDtoH_v2": [c_void_p, c_uint64, c_size_t],
    "cuLaunchKernel": [
        c_void_p,
        *[c_uint] * 6,  # the grid and the block, each in x, y and z
        c_uint,  # bytes of shared memory
        c_void_p,  # the stream
        POINTER(c_void_p),  # the addresses of the arguments
        POINTER(c_void_p),  # or these in another form
    ],
}


class CudaError(Exception):
    """A call that failed, and how, by the driver's own name for it."""


class Driver:
    """The functions of a library: of `libcuda`, or of what stands in for it."""

    def __init__(self, library: CDLL) -> None:
        self._functions = {name: getattr(library, name) for name in SIGNATURES}
        for name, function in self._functions.items():
            function.argtypes, function.restype = SIGNATURES[name], c_int

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function. Raises `CudaError` unless it succeeds."""
        status = self._functions[name](*arguments)
        if status:
            raise CudaError(f"{name}: {self._named(status)}")

    def _named(self, status: int) -> str:
        name = c_char_p()
        self._functions["cuGetErrorName"](status, byref(name))  # NULL for what it does not know
        return name.value.decode() if name.value else f"error {status}"

    def devices(self) -> int:
        """Return how many devices this process may see. The driver may refuse if there is none."""
        self.call("cuInit", 0)
        count = c_int()
        self.call("cuDeviceGetCount", byref(count))
        return count.value

    @contextmanager
    def first_device(self) -> Iterator[str]:
        """Have this thread compute on the first device; yields its name."""
        self.call("cuInit", 0)
        device, context, name = c_int(), c_void_p(), create_string_buffer(256)
        self.call("cuDeviceGet", byref(device), 0)
        self.call("cuDeviceGetName", name, len(name), device)
        self.call("cuDevicePrimaryCtxRetain", byref(context), device)
        try:
            self.call("cuCtxSetCurrent", context)
            try:
                yield name.value.decode()
            finally:
                self.call("cuCtxSetCurrent", None)
        finally:
            self.call("cuDevicePrimaryCtxRelease_v2", device)

    @contextmanager
    def kernel(self, text: bytes, name: bytes) -> Iterator[c_void_p]:
        """Compile a text in PTX; yields the kernel of this name."""
        module, kernel = c_void_p(), c_void_p()
        self.call("cuModuleLoadData", byref(module), text)
        try:
            self.call("cuModuleGetFunction", byref(kernel), module, name)
            yield kernel
        finally:
            self.call("cuModuleUnload", module)

    @contextmanager
    def copied(self, numbers: "array[float]") -> Iterator[c_uint64]:
        """Copy numbers to the device; yields where they are."""
        place, size = c_uint64(), numbers.itemsize * len(numbers)
        self.call("cuMemAlloc_v2", byref(place), size)
        try:
            self.call("cuMemcpyHtoD_v2", place, numbers.buffer_info()[0], size)
            yield place
        finally:
            self.call("cuMemFree_v2", place)

    def read(self, numbers: "array[float]", place: c_uint64) -> None:
        """Copy numbers back from the device."""
        size = numbers.itemsize * len(numbers)
        self.call("cuMemcpyDtoH_v2", numbers.buffer_info()[0], place, size)

    def launch(self, kernel: c_void_p, threads: int, *arguments: Any) -> None:
        """Run a kernel in at least so many threads, and wait for its end.

        The driver copies the arguments, values of ctypes, while it is called.
        """
        blocks = -(-threads // BLOCK)
        addresses = (c_void_p * len(arguments))(*map(addressof, arguments))
        grid, block = (blocks, 1, 1), (BLOCK, 1, 1)
        self.call("cuLaunchKernel", kernel, *grid, *block, 0, None, addresses, None)
        self.call("cuCtxSynchronize")


def saxpy(cuda: Driver, a: float, x: "array[float]", y: "array[float]") -> str:
    """Make `y` what `a * x + y` is, in floats of 32 bits; return the name of the device."""
    with (
        cuda.first_device() as device,
        cuda.kernel(SAXPY.read_bytes(), b"saxpy") as kernel,
        cuda.copied(x) as on_x,
        cuda.copied(y) as on_y,
    ):
        cuda.launch(kernel, len(y), c_uint(len(y)), c_float(a), on_x, on_y)
        cuda.read(y, on_y)
    return device


def missing(library: str = LIBRARY) -> str | None:
    """Return why nothing can be computed here, or None. Loads the driver into this process."""
    try:
        found = Driver(CDLL(library)).devices()
    except OSError:
        return f"no GPU here: {library} cannot be loaded"
    except CudaError as exc:
        return f"no GPU here: {exc}"
    return None if found else "no GPU here: 0 devices"


if __name__ == "__main__":
    print(missing() or "")
