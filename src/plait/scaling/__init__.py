"""How many blocks there should be. Everything here is pure: the clock, the provider and the threads are `executors.blocks`."""
