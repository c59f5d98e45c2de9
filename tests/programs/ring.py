"""As `ring.c`, in Python."""

from mpi4py import MPI

world = MPI.COMM_WORLD
total = world.allreduce(world.rank)
print(f"rank {world.rank} of {world.size} on {MPI.Get_processor_name()}: sum {total}", flush=True)
