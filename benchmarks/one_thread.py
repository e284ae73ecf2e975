"""Imported before numpy: a replay uses one core, whatever the machine has."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
