"""The files of detections: detections.json, its table, and actions.csv; each written as detections are found."""

import contextlib
import csv
import sys

from spot.files import atomic_path, remove_unfinished, streamed_results
from spot.operating_point import actions_of


def write_detections(path, found, total, facts, takers=()):
    """Write detections as they are found, so that memory stays flat however many videos there are.

    found: an iterable of (video, entries), of `total` videos; after Ctrl-C the file holds those so far, marked partial
    takers: functions of (video, entries) that get them too
    """
    remove_unfinished(path)
    videos = detections = 0
    try:
        with streamed_results(path, facts) as add:
            for name, entries in found:
                for take in (add, *takers):
                    take(name, entries)
                videos, detections = videos + 1, detections + len(entries)
    except KeyboardInterrupt:
        remove_evaluation(path.parent)
        print(f"{path} is partial: it holds {videos} of {total} videos and says so", file=sys.stderr)
        raise
    remove_evaluation(path.parent)
    print(f"{detections} detections in {videos} videos: {path}; "
          f"class source: {facts['external_data']['class_scores'] or 'the model'}")


def remove_evaluation(folder):
    """Remove what belongs to earlier detections in a folder: metrics.json and the pictures of videos."""
    for path in (folder / "metrics.json", *(folder / "timelines").glob("*.png")):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def detections_table(path):
    """Yield `add(video, entries)`, which writes detections into the CSV `path`: one row each, a video's best first.

    A stopped run leaves no table: unlike the JSON, it has no place to say that it is partial.
    """
    remove_unfinished(path)
    try:
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["video", "start_sec", "end_sec", "label", "score"])

            def add(video, entries):
                for entry in entries:
                    start, end = entry["segment"]
                    table.writerow([video, f"{start:.3f}", f"{end:.3f}", entry["label"], f"{entry['score']:.6g}"])

            yield add
    except KeyboardInterrupt:
        path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def actions_table(path, action):
    """Yield `add(video, entries)`, which writes the actions among detections into the CSV `path`, in order of time.

    action: see `spot.action_threshold`; None: there is no table, and an earlier one, of other detections, goes
    """
    if action is None:
        path.unlink(missing_ok=True)
        yield lambda video, entries: None
        return
    count = 0
    with detections_table(path) as add_rows:

        def add(video, entries):
            nonlocal count
            actions = actions_of(entries, action["threshold"])
            count += len(actions)
            add_rows(video, actions)

        yield add
    print(f"{count} actions, those with a score of {action['threshold']:.3g} or more "
          f"(chosen on {action['chosen_on']}): {path}")
