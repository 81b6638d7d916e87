"""Reports: graphs, kernels, profiles and tables as text, pictures and JSON."""
