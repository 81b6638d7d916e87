"""ONNX: nets written as models that other runtimes read, and models read as nets. The extra `netc[onnx]`."""
