"""What Triton compiles to start kernels, with a few lines of C for NVIDIA's driver, which write down what it gets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("triton")

DRIVER = r"""
#include <stdio.h>
#include "cuda.h"
#define DONE return CUDA_SUCCESS
CUresult cuGetErrorString(CUresult e, const char **s) { *s = "error"; DONE; }
CUresult cuPointerGetAttribute(void *d, CUpointer_attribute a, CUdeviceptr p) { *(CUdeviceptr *)d = p; DONE; }
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) { DONE; }
CUresult cuFuncSetCacheConfig(CUfunction f, CUfunc_cache c) { DONE; }
CUresult cuCtxGetCurrent(CUcontext *c) { *c = (CUcontext)1; DONE; }
CUresult cuCtxSetCurrent(CUcontext c) { DONE; }
CUresult cuCtxGetDevice(CUdevice *d) { *d = 0; DONE; }
CUresult cuCtxGetLimit(size_t *p, CUlimit l) { *p = 0; DONE; }
CUresult cuCtxSetLimit(CUlimit l, size_t v) { DONE; }
CUresult cuDeviceGet(CUdevice *d, int n) { *d = n; DONE; }
CUresult cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice d) { *v = 232448; DONE; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) { *c = (CUcontext)1; DONE; }
CUresult cuDriverGetVersion(int *v) { *v = 13000; DONE; }
CUresult cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus *v) { *v = CU_STREAM_CAPTURE_STATUS_NONE; DONE; }
CUresult cuModuleLoadData(CUmodule *m, const void *d) { *m = (CUmodule)7; DONE; }
CUresult cuModuleUnload(CUmodule m) { DONE; }
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *n) { *f = (CUfunction)8; DONE; }
CUresult cuFuncGetAttribute(int *v, CUfunction_attribute a, CUfunction f) {
  *v = a == CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES ? 0 : a == CU_FUNC_ATTRIBUTE_NUM_REGS ? 40 : 1024;
  DONE;
}
CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **p, void **e) {
  printf("[%u, %u, %u, %u, %llu, %llu]\n", c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX,
         (unsigned long long)c->hStream, *(unsigned long long *)p[0]);
  fflush(stdout);
  DONE;
}
"""
RUN = """
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver as nvidia
from triton.runtime import driver

class Driver:
    launcher_cls = nvidia.CudaLauncher
    def __init__(self): self.utils = nvidia.CudaUtils()
    def get_current_device(self): return 0
    def get_current_stream(self, device): return 0x1234
    def get_current_target(self): return GPUTarget("cuda", 90, 32)

driver.set_active(Driver())
from support.hand_written import scale
from netc.runtime.addresses import Layout
from netc.runtime.triton.run.launch import Launcher, functions_of
from netc.runtime.triton.compile.warming import compile_together
program = scale()
layout, functions = Layout(program), functions_of(program.source)
starts = {name: number << 33 for number, name in enumerate(("input:x", "state:w", "arena"), 1)}
launchers = [Launcher(call, functions, starts) for call in layout.step]
compile_together(launchers)
for launcher in launchers:
    launcher()
"""


def test_a_launch_reaches_the_driver(tmp_path: Path) -> None:
    """Grid, threads, stream and the first address (beyond 32 bits), as `Pointer` and `Launcher` give them to Triton."""
    compiler, spec = shutil.which("gcc"), find_spec("triton")
    if compiler is None or sys.platform != "linux":
        pytest.skip("Triton compiles it with gcc, on Linux")
    assert spec is not None
    assert spec.origin is not None
    include = Path(spec.origin).parent / "backends" / "nvidia" / "include"
    (tmp_path / "driver.c").write_text(DRIVER)
    flags = ["-shared", "-fPIC", "-w", f"-I{include}", "-Wl,-soname,libcuda.so.1", "-o", str(tmp_path / "libcuda.so.1")]
    subprocess.run([compiler, str(tmp_path / "driver.c"), *flags], check=True)
    root = Path(__file__).parents[2]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TRITON_")},
        "TRITON_LIBCUDA_PATH": str(tmp_path),
        "LD_LIBRARY_PATH": str(tmp_path),
        "TRITON_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")]),
    }
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(grid, stream, first) for *grid, _, stream, first in found] == [
        ([2, 1, 1], 0x1234, 1 << 33),
        ([1, 1, 1], 0x1234, 2 << 33),
    ]
    assert all(threads in (32, 64, 128) for *_, threads, _, _ in found)
