"""A pool of worker processes on one machine."""
