"""Reference pages that are made from the code, so that they can not say something else."""
