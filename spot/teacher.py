"""The teacher: an exponential moving average of the student."""

import torch
from torch.optim.swa_utils import AveragedModel


def make_teacher(model, decay):
    """Exponential moving average of the weights and buffers, warming up: min(decay, (1 + n) / (10 + n)).

    model: any module; decay: 0..1, the share that is kept per update; n: updates so far. Returns an AveragedModel.
    """

    teacher = Teacher(model, use_buffers=True)
    teacher.decay = decay
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    return teacher.eval()


class Teacher(AveragedModel):
    """See `make_teacher`. Torch's own update would wait three times for a GPU, to learn the number of updates."""

    @torch.no_grad()
    def update_parameters(self, model):
        """Take the student's weights and buffers: all of them at first, later a share."""
        updates = int(self.n_averaged)  # on the CPU, wherever the weights are
        own, student = ([*module.parameters(), *module.buffers()] for module in (self.module, model))
        if updates == 0:
            torch._foreach_copy_(own, student)
        else:
            kept = min(self.decay, (1 + updates) / (10 + updates))
            torch._foreach_lerp_(own, student, 1 - kept)
        self.n_averaged += 1
