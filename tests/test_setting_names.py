"""What a user means who writes a setting that is none: names of other programs, other sections, typing mistakes."""

import pytest

from spot.config import load_config, schema
from spot.files import SpotError
from spot.setting_names import MEANINGS, OTHER_NAMES, hint

KEYS = list(schema())


@pytest.mark.parametrize(("name", "keys"), [
    ("lr", ["training.learning_rate"]), ("seed", ["dataset.split_seed", "training.random_seed"]),
    ("epochs", ["training.max_epoch", "training.pretrain_epoch"]), ("device", ["training.device"]),
    ("batch_size", ["testing.batch_size", "training.batch_size"]), ("optim.lr", ["training.learning_rate"]),
    ("train.batch_size", ["testing.batch_size", "training.batch_size"]), ("model.num_heads", ["model.embedding_head"]),
    ("data.feature_path", ["dataset.feature_path"]), ("amp", ["testing.amp", "training.amp"]),
    ("output-dir", ["output_path"]), ("Output_Path", ["output_path"]), ("gpu", ["training.device"]),
    ("training.batchsiz", ["training.batch_size"]), ("learning_rat", ["training.learning_rate"]),
])
def test_a_name_leads_to_all_keys_it_could_mean(name, keys):
    words = hint(name, KEYS)
    assert sorted(key for key in KEYS if repr(key) in words) == keys


def test_the_section_that_was_written_says_which_comes_first():
    assert hint("train.batch_size", KEYS).startswith("valid keys of that meaning are 'training.batch_size'")
    assert hint("test.batch_size", KEYS).startswith("valid keys of that meaning are 'testing.batch_size'")


def test_what_there_is_not_is_said():
    assert "no loader processes" in hint("num_workers", KEYS) and "training.cache" in hint("num_workers", KEYS)
    assert hint("xyz", KEYS) == ""


def test_a_section_lists_its_keys():
    words = hint("semi", KEYS)
    assert words.startswith("it is a section") and "semi.method" in words and "training" not in words


def test_every_name_leads_to_a_key_and_stands_there_once():
    assert len(MEANINGS) == sum(map(len, OTHER_NAMES))
    for name, meaning in MEANINGS.items():
        assert isinstance(meaning, str) or set(meaning) <= set(KEYS), name
        assert name == name.lower().replace("_", ""), name


def test_the_message_of_an_unknown_key_has_the_hint():
    with pytest.raises(SpotError, match=r"override 'device=gpu': unknown key 'device'; the nearest valid key is "
                                        r"'training\.device'"):
        load_config(None, ["device=gpu"])
