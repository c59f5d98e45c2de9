"""``parsl.providers.slurm``."""
