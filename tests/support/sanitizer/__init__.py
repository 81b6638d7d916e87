"""A sanitizer for generated GPU kernels: what the proofs at emission cannot say, seen in Triton's interpreter.

Proofs (`compiler/codegen/loops/prove.py`, `lifetimes.py`) are about expressions; this looks at what the text does with
memory, element by element: that a variable's name has the values that the proof takes it to have, that a mask is where
it says, and in which order the lanes of a program read and write.
"""
