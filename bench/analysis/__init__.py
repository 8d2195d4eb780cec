"""What is measured besides the task score: linear probe, t-SNE, discrepancy, representation similarity."""
