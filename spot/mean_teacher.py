"""`mean_teacher` (Tarvainen and Valpola, NeurIPS 2017): the student agrees with its moving average under noise."""

from spot import augment
from spot.semi import Lesson, Method


class MeanTeacher(Method):
    """Student and moving teacher see a sequence under noise of their own; their probabilities are to be the same.

    The student's noise is the whole strong perturbation, the teacher's is Gaussian alone; neither is moved in time.
    """

    def loss_weights(self):
        """`semi.consistency` for each kind of output."""
        return dict.fromkeys(self.run.objective.differences, self.run.semi.consistency)

    def draw(self, unlabeled, step, total_steps, generator):
        """The teacher's noise."""
        noise = augment.draw_perturbation(unlabeled["features"].shape, self.run.device, self.run.augmentation.noise, 0,
                                          0, 0, generator)
        return {"teacher_noise": noise}

    def lesson(self, unlabeled):
        """The student under noise, with the teacher's probabilities under other noise as targets."""
        run, features, valid = self.run, unlabeled["features"], unlabeled["valid"]
        seen = augment.perturbed(features, unlabeled["teacher_noise"]) * valid[:, None]
        taught = run.taught(run.teacher.module, seen, valid)
        student = augment.perturbed(features, unlabeled["drawn"]) * valid[:, None]
        return Lesson(student, valid, lambda outputs: run.objective.difference(outputs, taught, valid))
