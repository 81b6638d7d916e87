"""Runs a net that netc compiled ahead of time: kernels, weights and manifest lie beside this file.

Needs numpy and the GPU's driver (libcuda, or AMD's libamdhip64), and nothing of netc or triton:

    from netc_program import Net
    prob = Net()(image=images)["prob"]

or `python netc_program.py INPUT.npz [-o OUTPUT.npz] [--as-is]`. A file that is not as the manifest says is a
ValueError, and so is a manifest that says what cannot be.
"""

from __future__ import annotations

import ctypes
import io
import os
import re
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .feeding import check_flags, check_ranges, told, transformed
from .manifest import DTYPES, Table, check_architecture, read_file, read_manifest, span

FOLDER = os.path.dirname(os.path.abspath(__file__))
LIBRARIES = {"cuda": ("libcuda.so.1", "nvcuda.dll", "libcuda.so"), "hip": ("libamdhip64.so", "amdhip64.dll")}
# What the two drivers call the same: name here -> (CUDA's, HIP's).
CALLS = {
    "init": ("cuInit", "hipInit"),
    "load": ("cuModuleLoadData", "hipModuleLoadData"),
    "function": ("cuModuleGetFunction", "hipModuleGetFunction"),
    "unload": ("cuModuleUnload", "hipModuleUnload"),
    "allocate": ("cuMemAlloc_v2", "hipMalloc"),
    "free": ("cuMemFree_v2", "hipFree"),
    "clear": ("cuMemsetD8_v2", "hipMemsetD8"),
    "copy_in": ("cuMemcpyHtoD_v2", "hipMemcpyHtoD"),
    "copy_out": ("cuMemcpyDtoH_v2", "hipMemcpyDtoH"),
    "launch": ("cuLaunchKernel", "hipModuleLaunchKernel"),
    "wait": ("cuCtxSynchronize", "hipDeviceSynchronize"),
}
MORE_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
EXACT = 90  # from here on code runs on one compute capability and no later one


class Driver:
    """The GPU's driver: the calls of `CALLS` as methods, which raise OSError with the driver's words."""

    def __init__(self, backend: str, library: str = "", device: int = 0) -> None:
        self.backend = backend
        self._library = _open(backend, library)
        self.call("init", 0)
        self._retained = None
        self.capability = 0
        if backend == "cuda":
            self._device = ctypes.c_int()
            self._check("cuDeviceGet", ctypes.byref(self._device), device)
            found = []
            for attribute in CAPABILITY:
                number = ctypes.c_int()
                self._check("cuDeviceGetAttribute", ctypes.byref(number), attribute, self._device)
                found.append(number.value)
            self.capability = 10 * found[0] + found[1]
            context = ctypes.c_void_p()
            self._check("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
            self._retained = context
        else:
            self._check("hipSetDevice", device)
        self.use()

    def use(self) -> None:
        """Make the device that of this thread."""
        if self._retained is not None:
            self._check("cuCtxSetCurrent", self._retained)

    def call(self, name: str, *arguments: Any) -> None:
        self._check(CALLS[name][self.backend != "cuda"], *arguments)

    def share(self, function: Any, size: int) -> None:
        """Let a kernel have more shared memory than the 48 kB that all may have."""
        if self.backend == "cuda" and size > 48 << 10:
            self._check("cuFuncSetAttribute", function, MORE_SHARED, size)

    def close(self) -> None:
        if self._retained is not None:
            self._check("cuDevicePrimaryCtxRelease_v2", self._device)
            self._retained = None

    def _check(self, name: str, *arguments: Any) -> None:
        result = getattr(self._library, name)(*arguments)
        if result:
            raise OSError(0, f"{name}: {self._words(result)}")

    def _words(self, result: int) -> str:
        text = ctypes.c_char_p()
        if self.backend == "cuda":
            self._library.cuGetErrorString(result, ctypes.byref(text))
        else:
            self._library.hipGetErrorString.restype = ctypes.c_char_p
            text.value = self._library.hipGetErrorString(result)
        return f"{(text.value or b'unknown error').decode(errors='replace')} (error {result})"


def _open(backend: str, library: str) -> Any:
    for name in [library] if library else LIBRARIES[backend]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError(0, f"there is no driver here: {library or ' or '.join(LIBRARIES[backend])} cannot be loaded")


class Net:
    """The program with its weights on a device: `net(image=x)` runs a step and gives the outputs by name.

    `net.get(name)` and `net.set(name, array)` copy inputs, outputs and state. library: the driver's, if not the usual.
    """

    def __init__(self, folder: str = FOLDER, *, device: int = 0, library: str = "") -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        archs = self.manifest["archs"]
        backends = [name for name in LIBRARIES if any(arch.startswith(f"{name}:") for arch in archs)]
        self._driver, problems = None, []
        for backend in backends:
            try:
                self._driver = Driver(backend, library, device)
                break
            except OSError as error:
                problems.append(str(error.strerror))
        if self._driver is None:
            raise OSError(0, "; ".join(problems) or "the manifest has no architecture")
        self.arch, compile_ = _choose(archs, self._driver)
        self._table = check_architecture(archs[self.arch], self.manifest["weights"]["bytes"])
        self._modules: list[Any] = []
        self._memory = ctypes.c_void_p()
        self._stale = True
        try:
            self._load(compile_)
        except BaseException:
            self.close()
            raise

    def _load(self, compile_: bool) -> None:
        driver = self._driver
        assert driver is not None
        kernels = {}
        for name, entry in self._table["kernels"].items():
            code = read_file(self.folder, self.manifest, entry["assembly" if compile_ else "code"])
            module, function = ctypes.c_void_p(), ctypes.c_void_p()
            driver.call("load", ctypes.byref(module), code)
            self._modules.append(module)
            driver.call("function", ctypes.byref(function), module, entry["symbol"].encode())
            driver.share(function, entry["shared"])
            kernels[name] = (function, entry["threads"], entry["shared"])
        size = self._table["memory"]["bytes"]
        driver.call("allocate", ctypes.byref(self._memory), ctypes.c_size_t(size))
        driver.call("clear", self._memory, ctypes.c_ubyte(0), ctypes.c_size_t(size))
        weights = read_file(self.folder, self.manifest, self.manifest["weights"]["file"])
        if len(weights) != self.manifest["weights"]["bytes"]:
            raise ValueError("the manifest contradicts itself about the weights")
        if weights:
            driver.call("copy_in", self._memory, weights, ctypes.c_size_t(len(weights)))
        self._calls: dict[str, list[Callable[[], None]]] = {"prepare": [], "step": []}
        for launch in self._table["launches"]:
            self._calls[launch["phase"]].append(self._bound(launch, *kernels[launch["kernel"]]))

    def _bound(self, launch: Table, function: Any, threads: int, shared: int) -> Callable[[], None]:
        driver, start = self._driver, self._memory.value or 0
        assert driver is not None
        bases = self._table["memory"]["bases"]
        offsets = [bases[argument["base"]]["start"] + argument["offset"] for argument in launch["arguments"]]
        # Behind the arguments come triton's own: scratch memory, and that of its profiler, which is not used.
        values = [ctypes.c_uint64(start + at) for at in [*offsets, self._table["memory"]["scratch"]]] + [
            ctypes.c_uint64()
        ]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))

        def call(kept: Any = values) -> None:  # the values must live as long as the pointers to them
            driver.call("launch", function, *launch["grid"], threads, 1, 1, shared, None, pointers, None)

        return call

    def __call__(self, /, **inputs: Any) -> dict[str, Any]:
        unknown = inputs.keys() - self._table["inputs"].keys()
        if unknown:
            raise ValueError(f"there is no input {sorted(unknown)[0]}")
        for name, array in inputs.items():
            self.set(name, array)
        self.step()
        outputs = {name: self.get(name) for name in self._table["outputs"]}
        check_flags(self.manifest["ranges"], outputs)
        return outputs

    def prepared(self, name: str, records: Any) -> Any:
        """Records as the net takes them: scaled, mean taken off and cropped as those that it was tested on."""
        rule = self.manifest["transforms"].get(name)
        if rule is None:
            return records
        mean = None
        if rule["mean_file"]:
            data = read_file(self.folder, self.manifest, rule["mean_file"])
            mean = _parsed("the mean", lambda: np.load(io.BytesIO(data), allow_pickle=False))
        return transformed(name, records, rule, mean)

    def step(self) -> None:
        """Queue a step: what only depends on state first, if that was set."""
        assert self._driver is not None
        self._driver.use()
        for call in [*(self._calls["prepare"] if self._stale else ()), *self._calls["step"]]:
            call()
        self._stale = False

    def set(self, name: str, array: Any) -> None:
        """Give an input or a buffer of state its values."""
        kind = "state" if name in self._table["state"] else "inputs"
        entry = self._table[kind].get(name)
        if entry is None:
            raise ValueError(f"there is no input and no state {name}")
        given = np.asarray(array)
        if list(given.shape) != entry["shape"]:
            raise ValueError(f"{name} has shape {list(given.shape)}, the program was compiled for {entry['shape']}")
        if kind == "inputs":
            check_ranges(self.manifest["ranges"], name, given)
        data = _packed(given, entry["stored"])
        assert self._driver is not None
        self._driver.use()
        if data.size:
            self._driver.call(
                "copy_in", self._at(entry), data.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(data.nbytes)
            )
        self._stale = self._stale or kind == "state"

    def get(self, name: str) -> Any:
        """An input, an output or a buffer of state as an array of the caller's own; waits for the steps."""
        entry = next((self._table[k][name] for k in ("outputs", "inputs", "state") if name in self._table[k]), None)
        if entry is None:
            raise ValueError(f"there is no value {name}")
        data = np.empty(span(entry), DTYPES[entry["stored"]])
        assert self._driver is not None
        self._driver.use()
        self._driver.call("wait")
        if data.size:
            self._driver.call(
                "copy_out", data.ctypes.data_as(ctypes.c_void_p), self._at(entry), ctypes.c_size_t(data.nbytes)
            )
        strides = [n * data.itemsize for n in entry["strides"]]
        view = np.lib.stride_tricks.as_strided(data, entry["shape"], strides, writeable=False)
        if entry["stored"] == "bf16":
            return (view.astype("<u4") << np.uint32(16)).view("<f4")
        return np.array(view, "<f4" if entry["dtype"] == "bf16" else DTYPES[entry["dtype"]], order="C")

    def _at(self, entry: Table) -> ctypes.c_uint64:
        return ctypes.c_uint64((self._memory.value or 0) + entry["start"])

    def close(self) -> None:
        """Free what the device holds; the net cannot be used after that."""
        driver, self._driver = self._driver, None
        if driver is None:
            return
        driver.use()
        if self._memory.value:
            driver.call("free", self._memory)
            self._memory.value = None
        for module in self._modules:
            driver.call("unload", module)
        self._modules = []
        driver.close()

    def __enter__(self) -> Net:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _choose(archs: Table, driver: Driver) -> tuple[str, bool]:
    """The architecture whose code runs here, and whether that is to be compiled from its PTX."""
    if driver.backend != "cuda":
        return next(name for name in archs if name.startswith("hip:")), False
    known = {int(name[5:]): name for name in archs if re.fullmatch(r"cuda:\d{2,3}", name)}
    own = driver.capability
    if own in known:
        return known[own], False
    older = [number for number in known if number < min(own, EXACT)]
    if not older:
        raise ValueError(f"not compiled for a device of compute capability {own // 10}.{own % 10}")
    return known[max(older)], max(older) // 10 != own // 10


def _packed(array: Any, dtype: str) -> Any:
    """An array as it lies in memory: bf16 as the upper halves of f32, rounded to the nearest (ties even)."""
    if dtype != "bf16":
        return np.ascontiguousarray(array, DTYPES[dtype])
    bits = np.ascontiguousarray(array, "<f4").view("<u4")
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    return np.where((bits & 0x7FFFFFFF) > 0x7F800000, (bits >> 16) | 0x40, rounded).astype("<u2")


def write_npz(path: str, arrays: dict[str, Any]) -> None:
    """Write arrays under their names, whole or not at all; np.savez takes some names for settings of its own."""
    part = f"{path}.{os.getpid()}.part"
    try:
        with zipfile.ZipFile(part, "w") as file:
            for name, array in arrays.items():
                with file.open(name + ".npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)


def _parsed(what: str, read: Callable[[], Any]) -> Any:
    """What numpy reads of a file; its parser raises many kinds of errors on a damaged header."""
    try:
        return read()
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{what} cannot be read ({reason})") from None


def _plain(text: str) -> str:
    """A text without what would drive a terminal: names come from files."""
    return "".join(c if c.isprintable() else "?" for c in text)


def main(arguments: list[str]) -> int:
    as_is, arguments = "--as-is" in arguments, [one for one in arguments if one != "--as-is"]
    if len(arguments) not in (1, 3) or (len(arguments) == 3 and arguments[1] != "-o"):
        print(f"usage: python {os.path.basename(__file__)} INPUT.npz [-o OUTPUT.npz] [--as-is]", file=sys.stderr)
        return 2
    about = FOLDER
    try:
        with Net() as net:
            about = arguments[0]
            if not zipfile.is_zipfile(about):
                raise ValueError("is no .npz; save the inputs by name with np.savez")
            with _parsed("it", partial(np.load, about, allow_pickle=False)) as given:
                arrays = {name: _parsed(name, partial(given.__getitem__, name)) for name in given.files}
            rules, labels = net.manifest["transforms"], net.manifest["labels"]
            treated = [] if as_is else [name for name in arrays if name in rules]
            arrays |= {name: net.prepared(name, arrays[name]) for name in treated}
            found = net(**arrays)
        if len(arguments) == 3:
            about = arguments[2]
            write_npz(about, found)
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
        said = f"{about}: {getattr(error, 'strerror', None) or error}"
        print(_plain(said), file=sys.stderr)
        return 2
    for name in treated:
        print(_plain(told(name, rules[name])), file=sys.stderr)
    for name, value in found.items():
        print(f"{name}: {value.dtype}{list(value.shape)}")
        if len(arguments) == 1 and value.ndim == 2:
            for number, row in enumerate(value):
                best = np.argsort(-row, kind="stable")[:3]
                names = labels if len(labels) == row.size else range(row.size)
                print(_plain(f"  {number}: {', '.join(f'{names[which]} {row[which]:.4f}' for which in best)}"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
