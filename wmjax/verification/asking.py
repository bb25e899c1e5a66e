"""Asking one suspect about one key's triggers, in an order that it cannot foretell, and betting on what it answers."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from wmjax import stats
from wmjax.errors import AccessError, GoneError, NoAnswerError
from wmjax.keys import Key
from wmjax.progress import progress
from wmjax.suspects.contract import Suspect
from wmjax.suspects.query import check_there, joined, query_each
from wmjax.verification.order import Order

Remember = Callable[[Sequence[int]], None]


class Question(NamedTuple):
    """Who is asked about what, and by which rule that is judged.

    Attributes:
      suspect: whom.
      key: the opened key.
      rule: by which the verdict is reached.
      stop_bits: evidence at which asking stops; a match may need less.
      order: of the questions.
      cover: uint8 [covers, H, W, C], ordinary images to ask in between, as the key's are.
      remember: told the triggers that are about to be shown.
      names: the suspect's words for its classes, each with its number: filled as they come.
    """

    suspect: Suspect
    key: Key
    rule: stats.Rule
    stop_bits: float
    order: Order
    cover: np.ndarray
    remember: Remember
    names: dict[str, int]

    @property
    def exact(self) -> bool:
        """Whether exact evidence exists for the key's labels."""
        return self.key.spec.policy.exact

    def put(self, images: np.ndarray, of: np.ndarray | None = None) -> stats.Answers:
        """What the suspect answers about images of the key's shape, [readings, n]; `of` as of `query_each`."""
        return query_each(self.suspect, images, self.key.spec.classes, self.names, of)

    def images(self, questions: np.ndarray) -> np.ndarray:
        """What is shown, uint8 [questions, H, W, C]."""
        return np.stack([self.key.images[q] if q >= 0 else self.cover[-1 - q] for q in questions])


class Given(NamedTuple):
    """What was answered, and what it comes to.

    Attributes:
      answers: about the triggers, [n].
      triggers: int64 [n], which.
      fresh: of them, the first ones, which the suspect was not shown before.
      path: of the evidence, [n]; its acquittal rests on the fresh ones alone.
      reading: which of the suspect's readings the answers are of: that with the most evidence.
      covered: ordinary images that were asked.
      cover_refused: of them, those without a usable answer.
    """

    answers: stats.Answers
    triggers: np.ndarray
    fresh: int
    path: stats.Path
    reading: int
    covered: int
    cover_refused: int


def ask(question: Question, *, stop: bool) -> Given:
    """What the suspect answers about the triggers, and what that comes to.

    Where `stop` is set they are asked one by one, up to the first answer that decides.

    Raises:
      NoAnswerError: it failed to answer, or no answer is usable; `GoneError` where it is not there any more.
      AnswerError: the first answer has the wrong form.
    """
    return _one_by_one(question) if stop else _together(question)


def check_usable(suspect: Suspect, answers: stats.Answers) -> None:
    """Raises `NoAnswerError` where none of a suspect's answers, [readings, n], is usable."""
    if not (answers.labels >= 0).any():
        raise NoAnswerError(
            f"suspect {suspect.name} gave no usable answer to any of {len(answers)} questions: it failed, refused, or "
            "said NaN, numbers that may be ranks, a negative one or an empty name"
        )


def _together(question: Question) -> Given:
    """All questions in one call."""
    questions, key = question.order.questions, question.key
    answers = put_together(question, questions, question.images(questions))
    asked = questions >= 0
    check_usable(question.suspect, answers[asked])
    cover = answers.labels[:, ~asked]
    triggers, fresh = question.order.triggers, question.order.fresh
    path = stats.play_each(question.rule, answers[asked], key.truth(triggers), question.suspect.outputs, fresh=fresh)
    reading = int(path.reading[-1])
    refused = int(np.sum(cover[reading] < 0))
    return Given(answers[asked].of(reading), triggers, fresh, path, reading, cover.shape[-1], refused)


def put_together(question: Question, numbers: np.ndarray, images: np.ndarray) -> stats.Answers:
    """What the suspect answers about many images; one that may be gone is asked about the first alone.

    So a suspect that is not there costs no more than one trigger.

    Args:
      question: who is asked.
      numbers: int64 [n], of the triggers; negative for other images.
      images: uint8 [n, H, W, C].
    """
    parts = list[stats.Answers]()
    for portion in _calls(question.suspect, len(images)):
        if shown := [number for number in numbers[portion].tolist() if number >= 0]:
            question.remember(shown)
        try:
            parts.append(question.put(images[portion]))
        except AccessError as error:
            if not parts or isinstance(error, GoneError) or question.suspect.wire:
                raise
            parts.append(stats.refusal(parts[0][:1]))  # a call about one, as where they are asked one by one
    return joined(parts)


def _calls(suspect: Suspect, images: int) -> list[slice]:
    """Which of some images are asked about in one call of a suspect."""
    if not suspect.remembers or images < 2:
        return [slice(None)]
    return [slice(at, at + 1) for at in range(images)] if suspect.alone else [slice(0, 1), slice(1, None)]


def _one_by_one(question: Question) -> Given:
    """Portion after portion; where each answer moves the evidence, a portion is one question."""
    key, rule, outputs = question.key, question.rule, question.suspect.outputs
    gathered, paths, asked = list[stats.Answers](), list[stats.Path](), list[int]()
    ways = len(question.suspect.asked)
    state, like, covered, silent = stats.begin(rule, (ways,)), None, 0, np.zeros(ways, np.int64)
    with progress(f"asking {question.suspect.name}", len(question.order.questions)) as advance:
        for numbers in _portions(question):
            answers = _answers(question, numbers, like, state.open)
            like = like or answers[:1]
            of_key = numbers >= 0
            covered, silent = covered + int(np.sum(~of_key)), silent + (answers.labels[:, ~of_key] < 0).sum(axis=-1)
            if not of_key.any():
                advance(len(numbers))
                continue
            triggers = numbers[of_key]
            fresh = question.order.fresh - len(asked)
            asked += triggers.tolist()
            gathered.append(answers[of_key])
            truth = key.truth(triggers)
            state, path = stats.bet_each(state, gathered[-1], truth, rule, outputs=outputs, fresh=fresh, stop=True)
            paths.append(path)
            advance(len(numbers), f"{path.evidence[-1]:.1f} bits")
            if stats.decide(path, rule, stop=True, match_bits=question.stop_bits).decided:
                break
    fresh = min(question.order.fresh, len(asked))
    whole, answers = stats.join(paths), stats.concatenate(gathered)
    check_usable(question.suspect, answers)
    reading = int(whole.reading[-1])
    return Given(answers.of(reading), np.array(asked), fresh, whole, reading, covered, int(silent[reading]))


def _portions(question: Question) -> Iterator[np.ndarray]:
    """The questions, cut behind each trigger at which the evidence may move, and behind each ordinary image there."""
    kind, questions = stats.kind_of(question.rule), question.order.questions
    if not kind.stages(question.key.spec.triggers):
        yield from questions[:, None]
        return
    asked = np.cumsum(questions >= 0)
    begin = 0
    while begin < len(questions):
        before = int(asked[begin - 1]) if begin else 0
        end = int(np.searchsorted(asked, stats.next_stage(kind, before, question.key.spec.triggers))) + 1
        yield questions[begin:end]
        begin = end


def _answers(question: Question, numbers: np.ndarray, like: stats.Answers | None, of: np.ndarray) -> stats.Answers:
    """What the suspect answers to a portion: a service image by image, a network at hand all at once."""
    if len(numbers) > 1 and not question.suspect.remembers:
        question.remember(numbers[numbers >= 0].tolist())
        return question.put(question.images(numbers), of)
    parts: list[stats.Answers] = []
    for number in numbers.tolist():
        parts.append(_answer(question, number, like or (parts[0] if parts else None), of))
    return stats.concatenate(parts)


def _answer(question: Question, number: int, like: stats.Answers | None, of: np.ndarray) -> stats.Answers:
    """What the suspect answers to one question: a failure, or another form than its first answer, is a refusal."""
    if number >= 0:
        question.remember([number])
    try:
        answer = question.put(question.images(np.array([number])), of)
    except AccessError as error:
        if like is None or isinstance(error, GoneError):  # it never answered at all, or never will any more
            raise
        answer = stats.refusal(like)  # one outcome a trigger: nothing is asked again
    if like is not None and answer.scores != like.scores:
        answer = stats.refusal(like)
    if (answer.labels < 0).all():
        check_there(question.suspect)
    return answer
