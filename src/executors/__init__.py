"""Where the work of a run is done: by threads of this process, or by the workers of a cluster. Results are the same."""
