import itertools
import random

from tenfold.tasks.examples import Example
from tenfold.tasks.overlaps import normalise
from tenfold.tasks.settings import TaskSettings
from tenfold.tasks.similar import RUN, find_similar
from tenfold.tasks.task import Task

TEXT = "a big red dog runs over the green hill while seven cats watch it from afar"
WORDS = TEXT.split()


def task(name, train, held=()):
    rows = {"train": list(train), "validation": list(held)}
    examples = {
        split: [Example(i, "", "", {}, None, text) for i, text in enumerate(texts)] for split, texts in rows.items()
    }
    return Task(name, TaskSettings(path="x"), train=examples["train"], validation=examples["validation"])


def jaccard(one, two):
    a, b = (
        {text[i : i + RUN] for i in range(max(1, len(text) - RUN + 1))} for text in (normalise(one), normalise(two))
    )
    return len(a & b) / len(a | b)


def sentences(draw, count):
    """Sentences of fourteen words, some of them others with one word replaced."""
    found = [" ".join(draw.choices(WORDS, k=14)) for _ in range(count)]
    for _ in range(count):
        words = draw.choice(found[:count]).split()
        words[draw.randrange(14)] = draw.choice(WORDS)
        found.append(" ".join(words))
    return found


def test_pairs_are_those_of_a_comparison_of_all():
    train, held = sentences(random.Random(1), 60), sentences(random.Random(2), 20)
    held += [f"{text}!" for text in train[:15]]
    found = find_similar([task("t", train, held)], alike=0.7)
    inside = dict.fromkeys(train)
    within = {b for a, b in itertools.combinations(inside, 2) if jaccard(a, b) >= 0.7}
    across = {a for a in held if normalise(a) not in map(normalise, train) and max(jaccard(a, b) for b in train) >= 0.7}
    by_place = {(one.split, one.in_split): one for one in found}
    assert by_place["train", "train"].rows >= 0.95 * len(within) > 10
    assert by_place["train", "train"].rows <= len(within)
    assert 15 <= by_place["validation", "train"].rows <= len(across)
    assert by_place["train", "train"].of == len(inside)
    for one in found:
        assert one.share == jaccard(one.example, one.twin) >= 0.7
        assert one.example != one.twin


def test_exact_repeats_are_not_near_ones():
    text = "the quick brown fox jumps over the lazy dog"
    assert find_similar([task("t", [text, text.upper(), f" {text}"], [text])]) == []


def test_training_rows_of_another_task_count_and_its_other_rows_do_not():
    text = "the quick brown fox jumps over the lazy dog every morning"
    one, two = task("one", ["something else entirely"], [text]), task("two", [f"{text}."], [f"{text}?"])
    [found] = [each for each in find_similar([one, two]) if each.task == "one"]
    assert (found.split, found.in_task, found.in_split, found.rows) == ("validation", "two", "train", 1)
    assert str(found).startswith("one validation: 1 of 1 inputs nearly stand in two train, e.g. 'the quick")


def test_short_and_odd_texts():
    assert find_similar([task("t", ["", "a", "ab", "\ud800x", "b"], [])]) == []


def test_a_crowd_of_alike_inputs_is_found_without_comparing_all():
    passage = " ".join(random.Random(0).choices(WORDS, k=60))
    rows = [f"{passage} question number {i}" for i in range(300)]
    found = {
        (one.split, one.in_split): one.rows for one in find_similar([task("t", rows, [f"{passage} question 1234"])])
    }
    assert found == {("train", "train"): 299, ("validation", "train"): 1}
