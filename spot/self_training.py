"""`self` and `ema`: pseudo labels by the model itself (as SPOT was published), or by its moving average."""

import copy
import math

from spot.class_repeats import repeats_of_labels
from spot.class_shares import shares_of_labels
from spot.pseudo_labels import align_recordings, classify_recordings, table_rows
from spot.semi import Method, pseudo_lesson


class SelfTraining(Method):
    """The student learns, in a strong view, what a teacher predicts for the sequence as it is.

    With `self` the model is its own teacher. With `ema` the moving teacher gives the masks, which become better by
    learning from themselves; classes would drift, so they come from the teacher as it was when the round began, which
    has seen whole recordings; what the labels show of every recording, its pseudo labels must show too, see
    `class_shares` and `class_repeats`. A detector without classes of snippets takes both from the moving teacher.
    """

    def __init__(self, run):
        super().__init__(run)
        self.has_rounds = run.semi.method == "ema" and run.semi.rounds and run.objective.has_snippet_classes
        # The teacher as it was when the round began, and its class logits of all unlabeled snippets.
        self.round_teacher = copy.deepcopy(run.teacher.module)
        self.round_logits = None
        # What the labeled recordings have in common: a ClassShares, a ClassRepeats, or None.
        self.habit = self._habit_of(run.labeled) if self.has_rounds else None

    def loss_weights(self):
        """Those of the labels."""
        return {name: self.run.weights[name] for name in self.run.objective.names}

    def draw(self, unlabeled, step, total_steps, generator):
        """Class logits of the round's teacher, where there are rounds; each begins with the moving teacher."""
        if not self.has_rounds:
            return {}
        first = self.run.burn_in_steps()
        length = math.ceil((total_steps - first) / self.run.semi.rounds)
        if (step - first) % length == 0:
            self.round_teacher.load_state_dict(self.run.teacher.module.state_dict())
            self.round_logits = None
        return {"class_logits": self._round_classes(unlabeled)}

    def lesson(self, unlabeled):
        """Pseudo labels of the teacher, in the student's strong view."""
        settings = self.run.semi
        return pseudo_lesson(self.run, self.teach(unlabeled), unlabeled, settings.class_threshold, settings)

    def teach(self, unlabeled):
        """The teacher's predictions for a batch as it is."""
        run = self.run
        teacher = run.model if run.semi.method == "self" else run.teacher.module
        return run.taught(teacher, unlabeled["features"], unlabeled["valid"])

    def state(self):
        """The teacher of the round."""
        return {"round_teacher": self.round_teacher.state_dict()}

    def load_state(self, content):
        """Go on from `state()`; a run that has learned in another way until now has the moving teacher alone."""
        self.round_teacher.load_state_dict(content.get("round_teacher", self.run.teacher.module.state_dict()))
        self.round_logits = None

    def _habit_of(self, labeled):
        """What the labeled recordings have in common, as far as the settings want it followed.

        How long they show each class says more than that they show it once: followed both, it was no better.
        """
        settings = self.run.semi
        shares = shares_of_labels(labeled) if settings.class_shares == "auto" else None
        return shares or (repeats_of_labels(labeled) if settings.class_repeats == "auto" else None)

    def _round_classes(self, unlabeled):
        """Class logits (B, K+1, T) of a batch by the teacher of the round."""
        run = self.run
        if self.round_logits is None:
            self.round_logits = classify_recordings(run.unlabeled, self._classify_round, run.model.num_classes,
                                                    run.unlabeled_size)
            if self.habit:
                align_recordings(self.round_logits, run.unlabeled, self.habit, run.model.class_activation)
        rows = table_rows(unlabeled["first_row"], run.unlabeled.num_snippets, len(self.round_logits))
        return self.round_logits[rows].float().transpose(1, 2)

    def _classify_round(self, features, valid):
        """Class logits (B, K+1, T) of the teacher as it was when the round began. features: (B, C, T) as they are."""
        self.round_teacher.eval()
        with self.run.autocast():
            return self.round_teacher.classify(self.round_teacher.standardize(features, valid), valid).float()
