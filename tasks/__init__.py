"""The tasks: one file per dataset, what they share (contract, metrics, losses), their files and their generators."""
