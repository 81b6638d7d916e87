"""Loop nests over index expressions: which element a reader takes of its operand, what a kernel iterates over."""
