"""The vocabulary: frozen data."""
