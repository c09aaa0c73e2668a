"""How tasks get to run: in this process (debug), in a bounded pool (local), as array jobs (slurm)."""
