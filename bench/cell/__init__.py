"""One cell, from data to record: its story, its trainer, and what it lends its method."""
