"""Backbones, embedders, predictors and the target model h ∘ f ∘ e."""
