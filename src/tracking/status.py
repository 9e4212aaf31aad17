"""How a run stands, in MLflow's words."""

RUNNING = "RUNNING"
FINISHED = "FINISHED"
"""It did all it was to do."""
FAILED = "FAILED"
"""It ended with an error, whose traceback is among its artefacts."""
KILLED = "KILLED"
"""It was interrupted, or its process is gone."""
