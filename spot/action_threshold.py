"""action_threshold.json of a run: the score from which on its detections are taken for actions."""

from spot.detections import read_action_threshold
from spot.distributed import is_first
from spot.errors import SpotError
from spot.evaluation import evaluate_detections, threshold_key
from spot.files import read_json, write_json
from spot.inference import detect_all
from spot.operating_point import choose_thresholds, measure, middle_tiou
from spot.recordings import annotated_recording

GIVE_THRESHOLD = "give the score from which on a detection is an action by testing.action_threshold=SCORE"


def action_threshold(given, path, scoring):
    """From which score on a detection is an action: {"threshold", "per_class", "chosen_on"}; None where there is none.

    given: `testing.action_threshold`, None: what the end of the training chose, in the file `path`
    scoring: what the scores depend on beside the model, {key: value}; the choice holds for the scores of its own alone
    SpotError where the file is not as the training wrote it.
    """
    if given is not None:
        return {"threshold": given, "per_class": {}, "chosen_on": "testing.action_threshold"}
    if not path.is_file():
        print(f"no actions.csv: the checkpoint comes without a threshold; {GIVE_THRESHOLD}")
        return None
    chosen = read_action_threshold(read_json(path))
    if chosen is None or not isinstance(chosen.get("scoring"), dict):
        raise SpotError(f"{path}: is not as the training wrote it; remove it, or {GIVE_THRESHOLD}")
    if changed := [key for key in scoring if chosen["scoring"].get(key) != scoring[key]]:
        print(f"no actions.csv: the threshold in {path} was chosen with another testing.{changed[0]}, for other scores "
              f"than the settings make now; {GIVE_THRESHOLD}")
        return None
    if chosen["threshold"] is None:
        print(f"no actions.csv: no detection is right on {chosen['chosen_on']}; {GIVE_THRESHOLD}")
        return None
    return {key: chosen[key] for key in ("threshold", "per_class", "chosen_on")}


def choose_action_threshold(path, detector, source, videos, subset, thresholds, has_learned, scoring):
    """Choose the threshold of best F1 at the middle tIoU on annotated videos, and write it into the file `path`.

    detector: inference.Detector; videos: list of Video, of `subset`; thresholds: (R,) tIoU of the evaluation
    has_learned: whether the model has learned from these videos: its scores are then higher there than elsewhere, which
    the file and the screen say; scoring: see `action_threshold`
    """
    recordings = [annotated_recording(video, detector.grid.fps) for video in videos]
    found = dict(detect_all(detector, source, recordings))
    if not is_first():
        return
    scene, tiou = evaluate_detections(videos, {"results": found}, subset, thresholds).scene, middle_tiou(thresholds)
    chosen = choose_thresholds(scene, tiou)
    where = f"{len(videos)} labeled training videos, from which the model has learned" if has_learned else (
        f"{len(videos)} held-out training videos")
    quality, _ = measure(scene, chosen, tiou)
    write_json(path, {"threshold": chosen.overall, "per_class": chosen.per_class, "chosen_on": where, "tiou": tiou,
                      "quality_there": quality.as_dict(), "scoring": scoring})
    if chosen.overall is None:
        print(f"no detection is right on {where}, so there is no score from which on detections are actions; train "
              f"longer, or {GIVE_THRESHOLD}")
        return
    print(f"actions: detections with a score of {chosen.overall:.3g} or more, best F1 at tIoU {threshold_key(tiou)} on "
          f"{where}: precision {100 * quality.precision:.1f} %, recall {100 * quality.recall:.1f} %"
          + (" there; expect less on other videos" if has_learned else ""))
