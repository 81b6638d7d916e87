"""The compiler proper: types, graph, primitives, layers, builder, code generators. Imports `grammar` only."""
