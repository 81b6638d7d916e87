"""What the real Caffe computed, read from the folder of shared material and built again as graphs of ours."""

import os
from pathlib import Path

CONFORMANCE = Path(os.environ.get("NETC_SHARED") or Path(__file__).parents[4] / "shared") / "conformance"
