"""The pages: one of a store, one of a study, one of two stores side by side."""
