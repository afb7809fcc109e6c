"""`sstap` (Wang et al., CVPR 2021, arXiv 2104.03214): a mean teacher under perturbations of time, and two tasks.

Perturbations: some channels are shifted in time, and the sequence is turned around. Tasks, without a label: features of
masked snippets are given back, and the order of shuffled clips is predicted. The paper's are on features of the same
kind; what differs here: a step has one student pass, in which half of the sequences are turned and all are shifted.
"""

import torch

from spot import augment, pretext
from spot.devices import to_device
from spot.semi import Lesson, Method

SHIFTED = 0.125  # share of the channels that are shifted forward, and as many backward
MASKED = 0.3  # share of the snippets that are masked
RECONSTRUCTION, ORDER = 0.5, 0.5  # weights of the tasks


class Sstap(Method):
    """The student agrees with the moving teacher about a sequence whose time was perturbed; see above."""

    def loss_weights(self):
        """`semi.consistency` for each kind of output, and those of the tasks."""
        consistency = dict.fromkeys(self.run.objective.differences, self.run.semi.consistency)
        return {**consistency, "reconstruction": RECONSTRUCTION, "order": ORDER}

    def draw(self, unlabeled, step, total_steps, generator):
        """Which channels are shifted, which sequences turned around, which snippets masked, how clips are shuffled."""
        batch, channels, length = unlabeled["features"].shape
        direction = torch.rand(batch, channels, 1, generator=generator)
        masking = augment.draw_perturbation((batch, channels, length), self.run.device, 0, 0, 0, MASKED, generator)
        drawn = {"direction": direction, "turned": torch.rand(batch, generator=generator) < 0.5,
                 "order": pretext.draw_order(batch, self.run.model.order_head.chunks, generator)}
        return {**{name: to_device(value, self.run.device) for name, value in drawn.items()},
                "unmasked": masking["snippets"]}

    def lesson(self, unlabeled):
        """The student's view in perturbed time, with the teacher's predictions in time as it is as targets."""
        run, features, valid = self.run, unlabeled["features"], unlabeled["valid"]
        taught = run.taught(run.teacher.module, features, valid)
        turned = unlabeled["turned"]
        seen = shifted(features, unlabeled["direction"]) * valid[:, None]
        seen = augment.perturbed(seen, unlabeled["drawn"]) * valid[:, None]
        seen = torch.where(turned[:, None, None], seen.flip(2), seen)
        seen_valid = torch.where(turned[:, None], valid.flip(1), valid)

        def losses(outputs):
            there = run.objective.turned(outputs)
            back = {key: torch.where(turned.view(-1, *[1] * (value.dim() - 1)), there[key], value)
                    for key, value in outputs.items()}
            return {**run.objective.difference(back, taught, valid), **self._tasks(features, valid, unlabeled)}

        return Lesson(seen, seen_valid, losses)

    def _tasks(self, features, valid, unlabeled):
        """The losses of masked reconstruction and of clip order."""
        run, unmasked = self.run, unlabeled["unmasked"]
        embedding = run.embedding(features * unmasked, valid)
        masked = valid & ~unmasked[:, 0]
        shuffled = pretext.shuffle_chunks(features, unlabeled["order"])
        places = run.model.order_head(run.embedding(shuffled, valid[:, : shuffled.shape[-1]]))
        return {"reconstruction": pretext.reconstruction_loss(run.model.reconstruct(embedding), features, masked),
                "order": pretext.order_loss(places, unlabeled["order"], valid.all(1))}


def shifted(features, direction):
    """Some channels a snippet later, some a snippet earlier, the ends repeated.

    features: (B, C, T); direction: (B, C, 1) in 0..1: below SHIFTED later, above 1 - SHIFTED earlier
    """
    later = torch.cat([features[..., :1], features[..., :-1]], -1)
    earlier = torch.cat([features[..., 1:], features[..., -1:]], -1)
    return torch.where(direction < SHIFTED, later, torch.where(direction > 1 - SHIFTED, earlier, features))
