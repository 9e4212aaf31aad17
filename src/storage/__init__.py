"""What is kept: descriptors and trained networks by their recipes, in a folder or in a bucket."""
