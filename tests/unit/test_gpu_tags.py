"""Which GPUs the jobs of a worker would see: what the driver has, and what CUDA may show."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy_core import discovery
from chancy_core.tags import check_tags, matches
from chancy_plugins import gpu_tags
from chancy_plugins.gpu_tags import Gpu, information, installed, listed, tags, visible

H100 = """\
Model: \t\t NVIDIA H100 80GB HBM3
IRQ:   \t\t 157
GPU UUID: \t GPU-2b0c9a5e-0f5b-6a3d-9d1e-7c1f0a9b8c01
Video BIOS: \t 96.00.74.00.01
Bus Type: \t PCIe
DMA Size: \t 52 bits
DMA Mask: \t 0xfffffffffffff
Bus Location: \t 0000:0f:00.0
Device Minor: \t 0
GPU Firmware: \t 535.129.03
GPU Excluded:\t No
"""
T4 = """\
Model: \t\t Tesla T4
GPU UUID: \t GPU-77aa0000-1111-2222-3333-444455556666
Device Minor: \t 1
"""
LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
GPU 1: NVIDIA GeForce RTX 3080 (Ti) (UUID: GPU-ffffa0d6-d33d-2b2c-524d-9e3d8d2b8a77)
"""
FOUR = [Gpu("A", "GPU-aa01"), Gpu("A", "GPU-aa02"), Gpu("B", "GPU-bb03"), Gpu("C", "GPU-cc04")]


def driver(root: Path, *texts: str, devices: int = 0) -> Path:
    for number, text in enumerate(texts):
        file = root / f"proc/driver/nvidia/gpus/0000:{number:02}:00.0/information"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (root / "dev").mkdir()
    (root / "dev/nvidiactl").touch()
    for number in range(devices):
        (root / f"dev/nvidia{number}").touch()
    return root


def test_what_the_driver_has_in_the_order_of_the_bus(tmp_path: Path) -> None:
    h100, t4 = installed(driver(tmp_path, H100, T4))
    assert h100 == Gpu("NVIDIA H100 80GB HBM3", "GPU-2b0c9a5e-0f5b-6a3d-9d1e-7c1f0a9b8c01")
    assert t4.model == "Tesla T4"
    assert tags([h100, t4]) == {"has=gpu", "gpus=2", "gpu=NVIDIA H100 80GB HBM3", "gpu=Tesla T4"}


def test_a_container_has_the_gpus_whose_devices_it_was_given(tmp_path: Path) -> None:
    assert [gpu.model for gpu in installed(driver(tmp_path, T4, H100, devices=1))] == [
        "NVIDIA H100 80GB HBM3"
    ]


def test_no_driver_and_nonsense_are_no_gpu(tmp_path: Path) -> None:
    assert installed(tmp_path) == []
    assert installed(driver(tmp_path, "", "Model\n", "Model:\n", "\0\ud7ff:::\n")) == []
    assert tags([]) == set()


@given(st.text())
def test_any_text_of_the_driver_or_of_its_tool_is_read(text: str) -> None:
    assert all(key == key.strip() and value for key, value in information(text).items())
    assert all(gpu.model and gpu.uuid for gpu in listed(text))


def test_what_the_tool_lists() -> None:
    one, two = listed(LISTED)
    assert one == Gpu("NVIDIA A100-SXM4-40GB", "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77")
    assert two.model == "NVIDIA GeForce RTX 3080 (Ti)"


@pytest.mark.parametrize(
    ("setting", "seen"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("2", [2]),
        (" 2 , 1 ", [2, 1]),
        ("0,2,-1,1", [0, 2]),
        ("0,4,1", [0]),
        ("0,,1", [0]),
        ("0,0", []),
        ("1gpu,2ampere", [1, 2]),
        ("1-3", [1]),
        ("GPU-bb03,GPU-aa01", [2, 0]),
        ("GPU-b", [2]),
        ("GPU-aa,GPU-bb", []),
        ("GPU-bb03,GPU-dd", [2]),
        ("GPU-bb03,GPU-b", []),
        ("gpu-bb03", []),
        ("0,MIG-aa", [0]),
    ],
)
def test_cuda_is_told_which_to_show(setting: str | None, seen: list[int]) -> None:
    assert visible(FOUR, setting) == [FOUR[place] for place in seen]


def test_of_parts_of_gpus_one_is_shown() -> None:
    (part,) = visible(FOUR[:2], "MIG-5f0c,MIG-5f0d")
    assert tags([part]) == {"has=gpu", "gpus=1", "gpu=A MIG"}
    assert visible(FOUR, "MIG-GPU-bb03/1/0")[0].model == "B MIG"
    assert visible(FOUR, "MIG-5f0c")[0].model == "A or B or C MIG"
    assert visible([], "MIG-5f0c") == []
    assert matches({"gpu=A.*"}, tags([part]))


@given(
    st.lists(st.sampled_from(FOUR), unique=True),
    st.lists(
        st.one_of(
            st.integers(-2, 6).map(str),
            st.sampled_from([gpu.uuid for gpu in FOUR]),
            st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"])),
        )
    ),
)
def test_only_what_is_there_is_shown_and_each_once(gpus: list[Gpu], items: list[str]) -> None:
    setting = ",".join(items)
    shown = visible(gpus, setting)
    if not setting.strip().startswith("MIG-"):
        assert set(shown) <= set(gpus)
        assert len(set(shown)) == len(shown)
    check_tags(tags(shown), "w")


@given(st.permutations(range(4)), st.integers(0, 4))
def test_indices_and_uuids_say_the_same(order: list[int], length: int) -> None:
    places = order[:length]
    by_index = visible(FOUR, ",".join(map(str, places)))
    assert by_index == visible(FOUR, ",".join(FOUR[place].uuid for place in places))
    assert by_index == [FOUR[place] for place in places]


def test_without_the_drivers_files_its_tool_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu_tags, "installed", lambda root: [])
    done = subprocess.CompletedProcess([], 0, LISTED)
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: done)
    ours = discovery.load("chancy.tags", "gpu")
    assert {"has=gpu", "gpus=2", "gpu=NVIDIA A100-SXM4-40GB"} < ours()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert ours() == {"has=gpu", "gpus=1", "gpu=NVIDIA GeForce RTX 3080 (Ti)"}

    def fail(*args: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 4)

    monkeypatch.setattr(subprocess, "run", fail)
    assert ours() == set()
