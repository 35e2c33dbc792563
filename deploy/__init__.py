"""Ways to run Sluis; imported by nothing."""
