"""A user's own data as a task: from arrays in a file to what `list`, `run`, `check` and `report` know."""
