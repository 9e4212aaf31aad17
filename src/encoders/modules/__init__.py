"""Modules of PyTorch that encoders are made of. What stands here imports PyTorch at once, and is imported late."""
