"""What cells leave: a record and its schema, the folder that holds them, and which of them may be compared."""
