"""What networks look at: maps of evidence over an image, out of those of its windows."""
