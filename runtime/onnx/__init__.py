"""ONNX's files, read without trust: walked in place; what they claim is checked before memory is asked for."""
