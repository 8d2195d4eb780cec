"""Optimal transport between labelled point clouds, as ORCA needs it: Sinkhorn divergences, OTDD, Gaussian, MMD."""
