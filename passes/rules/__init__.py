"""Term rewriting: the engine, its patterns, and the tables of laws that make a graph smaller."""
