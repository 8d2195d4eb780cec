"""The methods: one file per way to transfer, the contract they share, and optimal transport beside ORCA, which needs it."""
