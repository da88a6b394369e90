"""A package, so that the services its tests share end with the last of them, and not with the whole run."""
