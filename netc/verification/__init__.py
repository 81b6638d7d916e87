"""`netc verify`: a target against the float64 oracle, with an error budget that is derived, and faults tracked down.

budget, rules   the error analysis that runs beside the oracle
compare         a value against its budget
subject         a program of a net, with numbers and with taps
target          how a target is asked for results: the one module that knows
check           passes, kernels, memory, layers
derivatives     gradients beside differences of the loss
crash           which kernel it is that the target cannot make or run
bisect          which layer, which law
edits, reduce   a smaller net that still fails
verdict         what is reported
"""

from .verdict import Verdict
from .verifying import Wanted, verify

__all__ = ["Verdict", "Wanted", "verify"]
