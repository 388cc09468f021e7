"""Tags of the NVIDIA GPUs that a worker's jobs will see; the driver is enough to find them."""

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

#: Seconds that `nvidia-smi` may take.
TIMEOUT = 4.0


@attrs.frozen
class Gpu:
    """One GPU, as its driver calls it."""

    #: Such as `NVIDIA H100 80GB HBM3`.
    model: str
    #: Such as `GPU-2b0c…`; empty if the driver does not say.
    uuid: str = ""


def gpu_tags() -> set[str]:
    """Return `has=gpu`, `gpus=2` and `gpu=NVIDIA H100 80GB HBM3`, one for each model.

    Nothing where there is no GPU, and none that `CUDA_VISIBLE_DEVICES` hides.
    """
    found = installed(Path("/")) or listed(_nvidia_smi())
    return tags(visible(found, os.environ.get("CUDA_VISIBLE_DEVICES")))


def tags(gpus: Sequence[Gpu]) -> set[str]:
    """Return the tags of a worker that sees *gpus*."""
    if not gpus:
        return set()
    return {"has=gpu", f"gpus={len(gpus)}", *(f"gpu={gpu.model}" for gpu in gpus)}


def installed(root: Path) -> list[Gpu]:
    """Return what the Linux driver has, in the order of the bus.

    In a container it may list GPUs of the host whose device the container was not given.
    """
    files = sorted(root.glob("proc/driver/nvidia/gpus/*/information"))
    devices = {path.name for path in root.glob("dev/nvidia[0-9]*")}
    found = []
    for file in files:
        with suppress(OSError):
            told = information(file.read_text(errors="replace"))
            if "Model" in told and (not devices or f"nvidia{told.get('Device Minor')}" in devices):
                found.append(Gpu(told["Model"], told.get("GPU UUID", "")))
    return found


def information(text: str) -> dict[str, str]:
    """Read what the driver says of a GPU: lines of `Model: NVIDIA H100 80GB HBM3`."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): " ".join(value.split()) for key, _, value in pairs if value.strip()}


def listed(text: str) -> list[Gpu]:
    """Read what `nvidia-smi -L` prints."""
    lines = re.findall(r"^GPU \d+: (.+) \(UUID: (GPU-[^)\s]+)\)", text, re.MULTILINE)
    return [Gpu(" ".join(model.split()), uuid) for model, uuid in lines]


def _nvidia_smi() -> str:
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            ["nvidia-smi", "-L"],  # noqa: S607 - wherever the driver has put it
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=True,
        ).stdout
    return ""


def visible(gpus: Sequence[Gpu], setting: str | None) -> list[Gpu]:
    """Return which of *gpus* CUDA would show under this value of `CUDA_VISIBLE_DEVICES`.

    As CUDA has it: a list of indices, or of UUIDs that may be abbreviated; it ends before the first
    that names nothing, and one that names a GPU twice shows none. Of a part of a GPU (`MIG-…`) CUDA
    shows one, whatever else is listed. Indices are those of the bus.
    """
    if setting is None:
        return list(gpus)
    items = [item.strip() for item in setting.split(",")]
    if items[0].startswith("MIG-"):
        return _part(gpus, items[0])
    return [gpus[place] for place in _places([gpu.uuid for gpu in gpus], items)]


def _places(uuids: Sequence[str], items: Iterable[str]) -> list[int]:
    """Return the places that a list names, up to its end; none if it names one twice."""
    places: list[int] = []
    for item in items:
        if item.startswith("GPU-"):
            found = [place for place, uuid in enumerate(uuids) if uuid.startswith(item)]
        else:
            number = re.match(r"[+]?(\d+)", item, re.ASCII)  # of `1x` CUDA reads the 1
            found = [int(number[1])] if number and int(number[1]) < len(uuids) else []
        if len(found) != 1:
            break
        if found[0] in places:
            return []
        places += found
    return places


def _part(gpus: Sequence[Gpu], item: str) -> list[Gpu]:
    """Return the part of a GPU that `MIG-…` names, by the model of what it is a part of."""
    whole = item.removeprefix("MIG-").partition("/")[0]  # drivers before 470 name the GPU
    models = {gpu.model for gpu in gpus if gpu.uuid == whole} or {gpu.model for gpu in gpus}
    return [Gpu(f"{' or '.join(sorted(models))} MIG", item)] if models else []
