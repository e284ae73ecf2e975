"""From trials to the ensemble: finalists, blending, the seal, and the test set."""
