"""`fixmatch` (Sohn et al., NeurIPS 2020): confident hard labels of the weak view are learned in the strong view."""

from dataclasses import replace

from spot.semi import Method, pseudo_lesson


class FixMatch(Method):
    """The student labels the sequence as it is; what it is confident of (`semi.confidence`) it learns in a strong view.

    There is no other teacher. A label is hard: the most probable class, and a mask or a segment that is cut out.
    """

    def loss_weights(self):
        """Those of the labels."""
        return {name: self.run.weights[name] for name in self.run.objective.names}

    def lesson(self, unlabeled):
        """Hard pseudo labels of the student itself, above `semi.confidence`."""
        taught = self.run.taught(self.run.model, unlabeled["features"], unlabeled["valid"])
        return pseudo_lesson(self.run, taught, unlabeled, self.run.semi.confidence,
                             replace(self.run.semi, targets="hard"))
