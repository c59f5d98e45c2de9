"""Benchmarks of plait: one harness, an adapter per library, and the workloads that the targets are stated for.

Run `python -m benchmarks --help`; `README.md` in this folder says what is measured and how.
"""
