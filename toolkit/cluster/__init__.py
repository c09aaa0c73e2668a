"""The site: Slurm's queue and accounts, profiles, containers, versions."""
