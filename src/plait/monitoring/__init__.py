"""What follows a run: journal, displays, reports."""
