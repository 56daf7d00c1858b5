"""One file per schedule: ``stages(config, rows, heads)`` makes the list of stages, and nothing else."""
