"""Precision, recall and average precision of ranked detections. Numpy only."""

import numpy as np


def average_precision(right, counted, label, positives, interpolated=True, normalizer=None):
    """Average precision of each class at each threshold.

    right, counted: (R, P) detections that are right, and those that count at all, by class and descending score
    label: (P,) class of each, ascending; positives: (K,) segments per class; a class without segments gets NaN
    normalizer: instances per class N of the normalized precision R N / (R N + FP) (Hoiem et al., ECCV 2012), R the
        recall; None: the plain precision TP / (TP + FP)
    Returns (K, R).
    """
    ap = np.full((len(positives), len(right)), np.nan)
    for column, (row, hit, precision) in enumerate(zip(*hits_of(right, counted, label, positives, normalizer),
                                                       strict=True)):
        if interpolated:
            precision = best_from_here(precision, label[hit], row)
        total = np.bincount(label[hit], weights=precision, minlength=len(positives))
        np.divide(total, positives, out=ap[:, column], where=positives > 0)
    return ap


def hits_of(right, counted, label, positives, normalizer=None):
    """The right detections at each threshold: precision changes for the better only there, and recall only there.

    Arguments as in `average_precision`.
    Returns three lists with one array each per threshold, over the right detections of all classes: how many right ones
    of the class came before, the detection's index, the precision there.
    """
    class_start = np.searchsorted(label, np.arange(len(positives)))
    rows, hits, precisions = [], [], []
    for right_here, counted_here in zip(right, counted, strict=True):
        hit = np.flatnonzero(right_here & counted_here)
        of_class = label[hit]
        so_far = np.concatenate([[0], np.cumsum(counted_here)])
        number = so_far[hit + 1] - so_far[class_start[of_class]]  # rank within the class, from 1
        row = np.arange(len(hit)) - np.searchsorted(of_class, of_class)
        gain = row + 1
        if normalizer is not None:
            wrong = number - gain
            gain = gain / positives[of_class] * normalizer
            number = gain + wrong
        rows.append(row)
        hits.append(hit)
        precisions.append(gain / number)
    return rows, hits, precisions


def best_from_here(precision, group, row):
    """(M,) the highest precision at or after each entry of its group; row: (M,) the place in the group, from 0."""
    if not len(precision):
        return precision
    table = np.zeros((group.max() + 1, row.max() + 1))
    table[group, row] = precision
    return np.maximum.accumulate(table[:, ::-1], axis=1)[:, ::-1][group, row]
