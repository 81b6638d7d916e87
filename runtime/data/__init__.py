"""The data part of the runtime: sources, transforms, streams of batches, and the data sets that can be fetched.

`open_data` makes a `Stream` of a `data` form; `fetch.py` serves `netc data`. See `stream.py` for what
a batch is and how a run resumes, `transform.py` for what happens to pixels, `catalogue.py` for where data sets are
looked for.
"""

from .catalogue import cache_folder
from .opening import open_data
from .source import Mode
from .stream import Batch, Share, Stream

__all__ = [
    "Batch",
    "Mode",
    "Share",
    "Stream",
    "cache_folder",
    "open_data",
]
