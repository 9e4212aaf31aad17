"""Networks that turn crops into descriptors, and the pooling of descriptors."""
