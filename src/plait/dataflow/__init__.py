"""What decides: tasks, dependencies, retries, memoization. Pure."""
