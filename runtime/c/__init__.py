"""Running C: the machine's compiler makes a shared library of a program, which is called by ctypes."""
