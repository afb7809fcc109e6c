"""What a feature file holds -> the array of one video, or where the arrays of many videos lie in it."""

from collections.abc import Mapping

import h5py
import numpy as np

from spot import pickles
from spot.errors import SpotError

FEATURE_KEYS = ("feats", "features")  # what the array of a file with several entries is called
STREAM_NAMES = {"rgb", "flow", "optical_flow", "audio", "spatial", "temporal"}  # parts of one video, not videos
# No compression makes more of a byte than deflate's 1032; a dataset that claims more was never written.
MAX_COMPRESSION = 1032


def array_in(content):
    """The array of one video in what a file holds: itself, the one called `feats` or `features`, or the only one.

    content: an array, a tensor, an HDF5 dataset, the `Noted` of a pickle, or a mapping of names to such
    SpotError where there are several arrays, or none.
    """
    content = pickles.unwrapped(content)
    keys = _keys_in(content)
    if keys is not None:
        key = next((key for key in FEATURE_KEYS if key in keys), keys[0] if len(keys) == 1 else None)
        if key is None:
            named = ", ".join(_shown(key) for key in keys[:5])
            raise SpotError(f"it holds {named or 'nothing'}; name the features feats or features, or, where these are "
                            "videos, give the file itself as dataset.feature_path")
        return array_in(_member(content, key))
    if isinstance(content, h5py.Dataset):
        _refuse_claim(content.nbytes, MAX_COMPRESSION * content.id.get_storage_size())
        return content[()]
    if hasattr(content, "untyped_storage"):
        return _array_of_tensor(content)
    return np.array(content) if isinstance(content, np.ndarray) else pickles.array_of(content)


def videos_in(content):
    """{video: the keys that lead to its array} of what a file with many videos holds; None for a file of one video.

    A file of many is a mapping with several arrays, perhaps one mapping per subset, perhaps all under `features`; an
    HDF5 file is one as well where it holds a single dataset of another name. SpotError for streams of one video.
    """
    content = pickles.unwrapped(content)
    keys = _keys_in(content)
    if isinstance(content, h5py.File) and not keys:
        raise SpotError("holds no dataset; expected one per video")
    if not keys:
        return None
    named = next((key for key in FEATURE_KEYS if key in keys), None)
    if named is not None or (len(keys) == 1 and not isinstance(content, h5py.File)):
        only = keys[0] if named is None else named
        inner = videos_in(_member(content, only))
        return None if inner is None else {video: (only, *path) for video, path in inner.items()}
    if {str(key).lower() for key in keys} <= STREAM_NAMES:
        raise SpotError(f"it holds {', '.join(sorted(map(_shown, keys)))}, streams of one video; save each one in a "
                        "file of its own and give both paths")
    # Of thousands of HDF5 datasets none is opened here: the first one shows whether they lie in groups.
    if isinstance(content, h5py.Group) and not _is_group(content, keys[0]):
        return {key: (key,) for key in keys}
    inner = {key: videos_in(_member(content, key)) for key in keys}
    if any(videos is not None for videos in inner.values()):  # a mapping per subset, of which one may hold one video
        inner = {key: videos or _only_video(_member(content, key)) for key, videos in inner.items()}
    found = {}
    for key, videos in inner.items():
        found |= {str(key): (key,)} if not videos else {video: (key, *path) for video, path in videos.items()}
    return found


def _only_video(content):
    """As `videos_in`, of a subset with one video; None where it is an array, or a video's with facts beside it."""
    keys = _keys_in(pickles.unwrapped(content))
    return None if not keys or set(keys) & {*FEATURE_KEYS} else {str(keys[0]): (keys[0],)}


def member_at(content, keys):
    """The member of a mapping to which a series of keys leads."""
    for key in keys:
        content = _member(pickles.unwrapped(content), key)
    return content


def _keys_in(content):
    """The keys of a mapping under which there may be arrays, None for what is no mapping."""
    if not isinstance(content, Mapping):
        return None
    if not isinstance(content, dict):
        return list(content)
    # Facts beside the arrays, such as the frame rate, are no features.
    return [key for key, value in content.items() if key in FEATURE_KEYS or isinstance(value, Mapping)
            or (isinstance(value, pickles.Noted) and not value.is_scalar()) or hasattr(value, "shape")]


def _is_group(content, key):
    return (isinstance(content.get(key, getlink=True), h5py.HardLink)
            and content.get(key, getclass=True) is h5py.Group)


def _shown(key):
    return " ".join(str(key).split())[:40]


def _array_of_tensor(tensor):
    import torch

    _refuse_claim(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
    # numpy has no bfloat16
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()


def _refuse_claim(claimed, held):
    """SpotError before memory is taken for more bytes than a file can hold; a few are given to every file."""
    if claimed > max(held, 1 << 20):
        raise SpotError(f"it claims {claimed:,} bytes of numbers, which it does not hold; copy or make it again")


def _member(content, key):
    """A member of a mapping; of an HDF5 group, SpotError where it lies in another file: links may point anywhere."""
    if not isinstance(content, h5py.Group):
        return content[key]
    member = content[key] if isinstance(content.get(key, getlink=True), h5py.HardLink) else None
    if member is None or (isinstance(member, h5py.Dataset) and (member.external or member.is_virtual)):
        raise SpotError(f"the HDF5 dataset {key!r} lies in another file; store the features themselves")
    return member
