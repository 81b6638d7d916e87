"""Text to syntax tree: sources and places, error texts, the tree, the parser and the canonical form."""
