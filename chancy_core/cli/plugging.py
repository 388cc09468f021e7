"""`chancy plugins`: what installed packages offer."""
