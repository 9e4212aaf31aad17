"""Networks that are trained further, per view, fold and seed."""
