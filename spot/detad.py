"""Where our diagnosis differs from DETAD's released code, and by how much it can matter for a given ground truth.

Ours follows the paper (Alwassel, Caba Heilbron, Escorcia, Ghanem, ECCV 2018) where the code does not, and the protocol
of the evaluation where neither fits. Numpy only.
"""

import numpy as np


def deviations(scene):
    """The differences as sentences, with the counts of this ground truth; scene: `scenes.Scene`."""
    lengths = scene.gt_sec[:, 1] - scene.gt_sec[:, 0]
    empty = int((lengths <= 0).sum())
    with np.errstate(invalid="ignore"):  # a duration that is not known
        too_long = int((lengths / scene.durations_sec[scene.gt_video] > 1).sum())
    average = len(lengths) / len(scene.classes)
    bare = np.bincount(scene.gt_video, minlength=len(scene.videos))[scene.video] == 0
    return [
        f"ground truth: every segment counts here, as in mAP; DETAD leaves out those that are empty ({empty:,}) or "
        f"longer than their video ({too_long:,}).",
        f"N of the normalized precision, segments per class: {average:.2f} here; DETAD divides as Python 2 does and "
        f"rounds it down to {int(average)}.",
        "error types, profile: both are given, the mean over the tIoU thresholds, which DETAD's figure shows, and tIoU "
        "0.50 alone. DETAD has .5:.05:.95 for ActivityNet and only .5 for THUMOS14; here they are those of the "
        "evaluation.",
        "error types, nearest segment: of equally near ones that of the detection's own class decides here (in "
        "THUMOS14 every CliffDiving is a Diving too); in DETAD the first one of the file.",
        f"error types, videos without a segment: what is detected there is background here ({int(bare.sum()):,} "
        "detections); DETAD's code compares all but the first detection of such a video with the segments of the video "
        "before it.",
        "buckets by instances: segments of the same class in the video, as in the paper; DETAD's released file of "
        "THUMOS14 counts those of all classes.",
        "buckets by coverage: the largest bucket of THUMOS14 has no upper edge here; DETAD's ends at 1.",
        "mAP_N of a bucket: what is left out at one tIoU threshold is left out there alone; in DETAD's code it stays "
        "out at all later ones.",
        "ties of scores: by the rule of the protocol here; DETAD's sorts leave them open.",
    ]
