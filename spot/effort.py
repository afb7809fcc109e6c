"""How much work detections save an annotator who corrects them: corrections, counted by rule. Numpy only.

A simulated annotator turns a list of actions into the ground truth. Each is one correction: to move a boundary that is
more than TOLERANCE_SEC off, to change the class of an action, to delete an action. To add an action is three, two
boundaries and a class, and that is all there is to do where annotation begins from nothing.

Which action is corrected into which segment: of all pairs that share time the one goes first that needs the fewest
corrections (of several, the one of highest tIoU), each action and each segment once. What is left of the actions is
deleted, what is left of the segments is added.
"""

from dataclasses import dataclass

import numpy as np

from spot.segments import tiou

TOLERANCE_SEC = 0.5
ADDING = 3  # two boundaries and a class


@dataclass(frozen=True)
class Corrections:
    """What an annotator has to do. Sums of several recordings add up.

    segments: true ones; actions: in the list; untouched: actions that are right as they are
    moved: boundaries; changed: classes; deleted, added: actions
    """

    segments: int = 0
    actions: int = 0
    untouched: int = 0
    moved: int = 0
    changed: int = 0
    deleted: int = 0
    added: int = 0

    @property
    def total(self):
        """Corrections in all."""
        return self.moved + self.changed + self.deleted + ADDING * self.added

    @property
    def from_nothing(self):
        """Steps of an annotator who begins with an empty recording."""
        return ADDING * self.segments

    def __add__(self, other):
        return Corrections(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def corrections(actions_sec, action_labels, segments_sec, labels, tolerance_sec=TOLERANCE_SEC):
    """The `Corrections` that turn the actions of one recording into its segments.

    actions_sec: (A, 2), action_labels: A class names, of the list; segments_sec: (N, 2), labels: N, the ground truth
    """
    actions_sec = np.asarray(actions_sec, float).reshape(-1, 2)
    segments_sec = np.asarray(segments_sec, float).reshape(-1, 2)
    other = np.array([[one != label for label in labels] for one in action_labels], bool)
    other = other.reshape(len(actions_sec), len(segments_sec))
    off = (np.abs(actions_sec[:, None] - segments_sec[None]) > tolerance_sec + 1e-9).sum(2)  # (A, N) boundaries
    overlap = tiou(actions_sec, segments_sec)
    action, segment = np.nonzero(overlap)
    order = np.lexsort((segment, action, -overlap[action, segment], (off + other)[action, segment]))
    free_actions, free_segments = set(range(len(actions_sec))), set(range(len(segments_sec)))
    moved = changed = untouched = 0
    for one, its in zip(action[order].tolist(), segment[order].tolist(), strict=True):
        if one in free_actions and its in free_segments:
            free_actions.remove(one)
            free_segments.remove(its)
            moved, changed = moved + int(off[one, its]), changed + int(other[one, its])
            untouched += not (off[one, its] or other[one, its])
    return Corrections(len(segments_sec), len(actions_sec), untouched, moved, changed, len(free_actions),
                       len(free_segments))
