"""Settings searched for on validation, the same budget for every arm, and the choice repeated with fresh seeds."""
