"""Configurations as files: reading and writing objects by the parameters of their constructors, and the rules of administrators."""
