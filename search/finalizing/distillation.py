"""Distillation: the targets of one student that learns what the ensemble says.

The student has the knobs, the seed and the schedule of the best single model and is
trained by the same code; only its targets differ: half the label, half the ensemble's
probabilities (Hinton et al. 2015, at temperature 1), which for a cross-entropy is the
mean of both losses.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.sources import FOREGROUND, VOID
from search.files import checksum
from search.finalizing.blending import Calibrated
from search.finalizing.ensemble import average
from search.finalizing.finalists import Member
from search.records import Task
from search.scoring.calibration import scaled
from search.scoring.columns import chunks

Array = NDArray[Any]

TEACHER_SHARE = 0.5


def student_of(single: Member, blend: Calibrated) -> Member:
    """Return the student with the knobs and the seed of the best single model.

    Its name tells the blends it can learn from apart: a student is trained once.
    """
    mark = checksum([sorted(blend.weights.items()), blend.temperature])[:8]
    return Member(
        f"student-of-{single.member_id}-{mark}",
        "student",
        single.trial_id,
        single.seed,
        single.values,
        f"the configuration of the best single model, {single.member_id}",
        "from the beginning, on targets that are half truth and half the ensemble's",
    )


def soft_targets(
    task: Task, predictions: dict[str, Array], blend: Calibrated, targets: Array
) -> Array:
    """Return targets that are half the truth and half what the ensemble says.

    Args:
        predictions: member id -> probabilities of the training images.
        targets: labels (n,), or masks (n, height, width) with 255 void.

    Returns:
        (n, classes), or (n, height, width) with 255 void; float32.
    """
    parts = []
    for part in chunks(next(iter(predictions.values()))):
        members = {name: predictions[name][part] for name in blend.weights}
        teacher = scaled(task, average(members, blend.weights), blend.temperature)
        truth = np.asarray(targets[part])
        if task == "classification":
            parts.append(mixed(np.eye(teacher.shape[1])[truth], teacher))
        else:
            soft = mixed((truth == FOREGROUND).astype(float), teacher)
            parts.append(np.where(truth == VOID, np.float32(VOID), soft))
    return np.concatenate(parts)


def mixed(truth: Array, teacher: Array) -> Array:
    """Return the weighted mean of truth and teacher as float32."""
    mean = (1 - TEACHER_SHARE) * truth + TEACHER_SHARE * teacher
    return mean.astype(np.float32)
