"""Machine model: what cost models need to know of a GPU, how much it does at once and how fast.

Figures are of the makers' data sheets (A100 and H100 with HBM as SXM modules, B200, MI300X), dense, at boost clocks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A GPU.

    units: multiprocessors (compute units). width: threads of a warp (wavefront). registers: 32-bit ones a unit. shared:
    bytes of shared memory that one program may use; unit_shared: those of a unit. bandwidth, cache: bytes a second of
    the memory and of the last cache. f32, tf32, half: operations a second in f32 without and in TF32 and 16 bits with
    matrix units. launch: seconds that a kernel takes at least, in a graph. sums: of a product's tile that a thread may
    hold in registers, with matrix units; convolution_sums: of a convolution's, where addresses take others. groups:
    whether four warps share a matrix instruction. large: few programs with large blocks.
    """

    name: str
    units: int
    width: int
    registers: int
    shared: int
    unit_shared: int
    bandwidth: float
    cache: float
    f32: float
    tf32: float
    half: float
    launch: float = 2e-6
    sums: int = 128
    convolution_sums: int = 64
    groups: bool = False
    large: bool = False

    def rate(self, dtype: str, precision: str) -> float:
        """Operations a second of products of an element type."""
        if dtype in ("f16", "bf16"):
            return self.half
        if dtype == "f64":
            return self.f32 / 2
        return self.tf32 if precision == "tf32" else self.f32


KIB = 1024
DEVICES = {
    device.name: device
    for device in (
        Device("cuda:80", 108, 32, 65536, 163 * KIB, 164 * KIB, 1.9e12, 4.5e12, 19.5e12, 156e12, 312e12, sums=64),
        Device(
            "cuda:90",
            *(132, 32, 65536, 227 * KIB, 228 * KIB),
            *(3.35e12, 7e12, 60e12, 494e12, 989e12),
            convolution_sums=128,
            groups=True,
        ),
        Device("cuda:100", 148, 32, 65536, 227 * KIB, 228 * KIB, 7.7e12, 12e12, 75e12, 1.1e15, 2.2e15, sums=64),
        Device("hip:gfx942", 304, 64, 131072, 64 * KIB, 64 * KIB, 5.3e12, 14e12, 80e12, 650e12, 1.3e15, 4e-6, sums=32),
        # A core for generated C: sums are never taken in parts. Its rates are assumed.
        Device("cpu", 1, 32, 1 << 30, 1 << 40, 1 << 40, 2e10, 1e11, 1e11, 1e11, 1e11, 1e-6, large=True),
        # Triton's interpreter runs programs one after the other, a turn of a loop in milliseconds whatever its size.
        Device("interpreter", 1, 32, 1 << 30, 1 << 40, 1 << 40, 1e9, 1e9, 1e9, 1e9, 1e9, 1e-3, large=True),
    )
}


def device(name: str) -> Device:
    """The figures for an architecture; for one that is not in the table those of the nearest before it."""
    if name in DEVICES:
        return DEVICES[name]
    vendor, _, version = name.partition(":")
    if vendor == "cuda" and version.isdigit():
        older = [d for d in DEVICES.values() if d.name.startswith("cuda:") and int(d.name[5:]) <= int(version)]
        return older[-1] if older else DEVICES["cuda:80"]
    return DEVICES["hip:gfx942"] if vendor == "hip" else DEVICES["cuda:80"]
