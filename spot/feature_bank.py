"""Where the features of a training wait: on the device, in memory, or on the disk until they are asked for."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from spot.devices import to_device
from spot.distributed import machine_share

# Shares of the free memory that features may take before they stay on disk.
DEVICE_SHARE, MEMORY_SHARE = 0.5, 0.4
# So many bytes of features go to a GPU in one copy.
COPIED_BYTES = 256 << 20


class FeatureBank:
    """Features of many videos as one table of snippets, (rows, C): on the device, in memory, or read when asked for.

    read: video number -> (C, T') numpy; cache: auto, device, memory or disk. `auto` takes the first that has room.
    count: how many videos will be added
    """

    def __init__(self, read, cache, device, count):
        self.read, self.device, self.count = read, torch.device(device), count
        self.lengths, self.size_bytes = [], 0
        self.room = room_bytes(self.device)
        self.is_auto = cache == "auto"
        if self.is_auto:
            self.cache = next(iter(self.room))
        else:
            self.cache = "memory" if cache == "device" and self.device.type == "cpu" else cache
        self.rows_of_all = None if self.cache == "disk" else Rows(self._place(), count)

    def _place(self):
        return self.device if self.cache == "device" else torch.device("cpu")

    def add(self, features):
        """Keep the (C, T') features of the next video."""
        self.lengths.append(features.shape[1])
        self.size_bytes += features.nbytes
        while self.is_auto and self.cache != "disk" and self.size_bytes > self.room[self.cache]:
            self._give_up_place()
        if self.cache != "disk":
            self.rows_of_all.add(torch.from_numpy(features).T)

    def _give_up_place(self):
        """Go on where there is more room: in memory, else on the disk, where the features are anyway."""
        if self.cache == "device" and self.size_bytes <= self.room["memory"]:
            self.cache, self.rows_of_all = "memory", self.rows_of_all.moved(torch.device("cpu"))
        else:
            self.cache, self.rows_of_all = "disk", None

    def finish(self):
        """Join the table, once every video is there."""
        self.lengths = np.array(self.lengths)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        if self.cache != "disk":
            self.table, self.rows_of_all = self.rows_of_all.table(), None

    def rows(self, videos, starts, length):
        """Snippets start .. start + length of each video, zeros past its end.

        videos, starts: (B,) int arrays -> features (B, C, T) and valid (B, T) bool on the device
        """
        counts = self.lengths[videos]
        # One copy for all numbers of a batch.
        where = to_device(torch.from_numpy(np.stack([self.offsets[videos], starts, counts])), self.device)
        first, start, count = where[..., None]  # (B, 1) each
        place = start + torch.arange(length, device=self.device)  # (B, T)
        valid = place < count
        if self.cache == "disk":
            parts = [torch.from_numpy(self.read(video)[:, start : start + length])
                     for video, start in zip(videos.tolist(), starts.tolist(), strict=True)]
            batch = torch.stack([F.pad(part, (0, length - part.shape[1])) for part in parts])
            return to_device(batch, self.device), valid
        if self.cache == "device":
            rows = self.table[first + torch.minimum(place, count - 1)]  # (B, T, C)
        else:
            place = np.minimum(starts[:, None] + np.arange(length), counts[:, None] - 1)
            rows = to_device(self.table[torch.from_numpy(self.offsets[videos][:, None] + place)], self.device)
        return (rows * valid[..., None]).transpose(1, 2), valid


class Rows:
    """A table that grows by the rows of one video after another, on the CPU or on a GPU.

    Those for a GPU wait in memory until there are enough for a copy: neither has ever all of them twice.
    """

    def __init__(self, device, count):
        self.device, self.count = device, count
        self.parts, self.waiting, self.videos = [], 0, 0
        self.filled, self.on_gpu = 0, None

    def add(self, rows):
        """rows: (N, C) of the next video, on the CPU."""
        self.parts.append(rows)
        self.videos += 1
        self.waiting += len(rows)
        if self.device.type == "cuda" and rows.shape[1] * self.waiting * rows.element_size() > COPIED_BYTES:
            self._send()

    def _joined(self):
        """The parts that wait as one tensor; each is dropped once it is in there."""
        joined = torch.empty(self.waiting, self.parts[0].shape[1])
        first = 0
        for index in range(len(self.parts)):
            joined[first : first + len(self.parts[index])] = self.parts[index]
            first, self.parts[index] = first + len(self.parts[index]), None
        self.parts, self.waiting = [], 0
        return joined

    def _send(self):
        """Copy what waits to the GPU, behind what is there."""
        wanted, joined = self.filled + self.waiting, self._joined()
        if self.on_gpu is None or wanted > len(self.on_gpu):
            # As many as all videos will have if the rest are like these, and a few more.
            expected = math.ceil(1.02 * wanted * max(self.count / self.videos, 1))
            grown = torch.empty(expected, joined.shape[1], device=self.device)
            if self.filled:
                grown[: self.filled] = self.on_gpu[: self.filled]
            self.on_gpu = grown
        self.on_gpu[self.filled : wanted] = joined
        self.filled = wanted

    def moved(self, device):
        """The same rows, to go on from on another device."""
        other = Rows(device, self.count)
        other.videos = self.videos
        other.parts = ([] if self.on_gpu is None else [self.on_gpu[: self.filled].to(device)]) + self.parts
        other.waiting = self.filled + self.waiting
        return other

    def table(self):
        """All rows, (rows, C)."""
        if self.device.type != "cuda":
            return self._joined()
        if self.parts:
            self._send()
        return self.on_gpu[: self.filled]


def room_bytes(device):
    """How many bytes of features fit, the best place first: {"device": ... on CUDA, "memory": ...}."""
    room = {"device": DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]} if device.type == "cuda" else {}
    return {**room, "memory": MEMORY_SHARE * machine_share() * _free_memory()}


def _free_memory():
    """Bytes of memory that are free, also where a container limits them; plenty where the system does not state it."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 8 << 30
