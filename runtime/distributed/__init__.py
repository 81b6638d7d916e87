"""Several processes as one run: data parallel training, and inference in bulk, over `torch.distributed`."""
