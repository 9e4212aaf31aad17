"""Ways of learning: from a manifest and splits to a predictions table."""
