"""action_threshold.json of a run: the score from which on its detections are taken for actions."""

from spot.detections import read_action_threshold
from spot.errors import SpotError
from spot.files import read_json

GIVE_THRESHOLD = "give the score from which on a detection is an action by testing.action_threshold=SCORE"


def action_threshold(given, path, scoring):
    """From which score on a detection is an action: {"threshold", "per_class", "chosen_on"}; None where nobody knows.

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
