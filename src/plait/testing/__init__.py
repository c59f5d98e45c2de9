"""For those who write executors, or tests of programs that use plait.

`plait.testing.executor_contract.ExecutorContract` and `plait.testing.crash_matrix.CrashMatrix` are suites for pytest that every executor passes.
Both are imported where they are used: this package itself needs nothing but plait.
"""
