"""Training on a Ray cluster: who connects, which nodes fit, and what runs on each."""
