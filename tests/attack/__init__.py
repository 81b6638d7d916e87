"""Fuzzing, fault injection and differential testing of netc: `make attack`, and a short part of it in `make test`.

contract       what any reader owes to any file
readers        the table of readers: a new one is a row
binary, text   hostile files by mutation of valid ones, and by their structure
language       hostile `.net` texts: from the grammar, and valid ones changed
worker, pool   a process of its own, with bounds, in which cases are read
shrink         a smaller case that fails in the same way
campaign       how many cases, how long, what was found: the report
"""
