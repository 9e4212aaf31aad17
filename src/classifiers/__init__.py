"""Models on descriptors."""
