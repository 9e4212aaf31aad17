"""The edge of every command: what is typed, and what the terminal shows."""
