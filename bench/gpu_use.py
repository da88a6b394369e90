"""How much of a GPU's time and memory bandwidth is used."""

from collections.abc import Callable
from typing import Any

# Bytes per second between a card and its memory, from NVIDIA's data sheets; by what the driver's name of the card
# contains, the first fits.
BANDWIDTHS = {
    "H200": 4.8e12, "H100 PCIe": 2.0e12, "H100": 3.35e12, "A100-SXM4-80GB": 2.04e12, "A100 80GB": 1.94e12,
    "A100": 1.56e12, "L40S": 0.86e12, "A10G": 0.6e12,
}  # fmt: skip


def bandwidth(device: str) -> float | None:
    """Of a card by its name; None for one that is not listed."""
    return next((value for name, value in BANDWIDTHS.items() if name in device), None)


def idle_share(work: Callable[[], Any]) -> float | None:
    """Share of time in which the GPU was idle, from the first to the last thing that it did in ``work``."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
    on_gpu = (event.time_range for event in profiler.events() if event.device_type == DeviceType.CUDA)
    return idle_of([(time_range.start, time_range.end) for time_range in on_gpu])


def idle_of(spans: list[tuple[float, float]]) -> float | None:
    """Share of time that no span covers, from the first span's start to the last one's end; None without spans."""
    if not spans:
        return None
    begin = reached = min(first for first, _ in spans)
    idle = 0.0
    for first, last in sorted(spans):
        idle += max(0.0, first - reached)
        reached = max(reached, last)
    return idle / max(reached - begin, 1e-9)
