"""Start-up is felt: `import netc` brings in nothing that is slow to load and not yet needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "triton", "matplotlib", "rich", "PIL", "pooch", "safetensors", "scipy")


@pytest.mark.parametrize("module", ["netc", "netc.__main__", "netc.driver"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
