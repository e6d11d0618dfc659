"""Terms to a draft: which things, how many, what they do to each other and where. No numbers of space yet.

A prompt is read from left to right. Adjectives wait for their noun; a noun becomes the object of an open
relation ("on"), the target of an open verb ("circling"), or else a new subject; a verb belongs to the
subjects in hand, or, as in "a drifting duck", waits for the noun.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from elsewhere.scene import catalogue
from elsewhere.scene.words.lexicon import COPULAS, MAXIMUM_COUNT, NEGATIONS, PRONOUNS, lexicon, nearest
from elsewhere.scene.words.tokens import Term, terms

MAXIMUM_UNKNOWN = 16
TRANSITIVE = frozenset({"battle", "circle"})


@dataclass(eq=False, slots=True)
class Action:
    """A verb of a group; `target` is another group, "mutual" for each other, or None."""

    verb: str
    target: Group | str | None = None
    speed: float = 1.0
    pursues: bool = False
    """Whether what follows is what it goes for."""


@dataclass(eq=False, slots=True)
class Group:
    """Things of one kind that the prompt speaks of together."""

    kind: str
    count: int = 1
    color: str | None = None
    material: str | None = None
    size: str | None = None
    second: str | None = None
    """Its second colour."""
    actions: list[Action] = field(default_factory=list)
    relations: list[tuple[str, Group]] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """What a prompt says, in canonical words."""

    groups: list[Group] = field(default_factory=list)
    environment: str | None = None
    hour: str | None = None
    weather: list[tuple[str, bool]] = field(default_factory=list)
    camera: list[str] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Waiting:
    """Adjectives that wait for their noun."""

    count: float | None = None
    color: str | None = None
    material: str | None = None
    size: str | None = None
    second: str | None = None
    actions: list[Action] = field(default_factory=list)
    negated: bool = False
    article: bool = False

    def is_open(self) -> bool:
        """Whether a noun has to follow."""
        described = self.color or self.material or self.size or self.actions
        return self.count is not None or self.article or bool(described)


def read(text: str) -> Draft:
    """The draft of a checked prompt."""
    return _Reader(terms(text)).read()


class _Reader:
    """One pass over the terms."""

    def __init__(self, found: list[Term]) -> None:
        self.terms = found
        self.index = 0
        self.draft = Draft()
        self.waiting = _Waiting()
        self.subjects: list[Group] = []
        self.main: list[Group] = []
        self.last: Group | None = None
        self.link: str | None = None
        self.open: list[Action] = []
        self.joining = False
        self.after_copula = False
        self.pace: float | None = None
        self.after_sky = False

    def read(self) -> Draft:
        """Reads every term and returns the draft."""
        for index, term in enumerate(self.terms):
            self.index = index
            self._take(term)
        self._close_adjectives()
        return self.draft

    def _take(self, term: Term) -> None:
        """Hands a term to the rule for what it is."""
        if not term.senses:
            self._take_plain(term)
            return
        category = self._category(term)
        if category in ("kind", "environment") and any(sense.is_derived for sense in term.senses):
            self.draft.notes.append(f"took {term.text!r} as {term.value(category)!r}")
        if category == "verb" and self.after_sky and term.form != "ing":
            return  # "while snow falls" says nothing of the things
        self.after_sky = category in ("weather", "hour")
        getattr(self, f"_{category}")(term)

    def _category(self, term: Term) -> str:
        """The category in which a term is read here."""
        if term.has("pursuit"):
            return "pursuit"
        if len(term.senses) == 1:
            return term.senses[0].category
        if term.has("kind", "environment") and term.has("weather", "material", "verb", "hour"):
            return self._noun_or_not(term)
        if term.has("kind") and term.has("environment"):
            return "environment" if self.link == "in" else "kind"
        if term.has("verb") and term.has("camera"):
            return "verb" if self.subjects and self._noun_follows() else "camera"
        if term.has("verb"):
            acts = term.form in ("ing", "ed") or (self.subjects and not self.waiting.is_open() and not self.link)
            others = [sense.category for sense in term.senses if sense.category != "verb"]
            return "verb" if acts else others[0]
        if term.has("material") and term.has("weather"):
            return "material" if self._noun_follows() else "weather"
        if term.has("size") and term.has("camera"):
            return "camera" if not self._noun_follows() else "size"
        order = ("mutual", "kind", "environment", "material", "color", "camera", "relation", "weather", "hour", "size")
        return next((category for category in order if term.has(category)), term.senses[0].category)

    def _noun_or_not(self, term: Term) -> str:
        """For "snow", "sand", "sail": a place or thing after a preposition, else what else it can be."""
        noun = "kind" if term.has("kind") else "environment"
        afloat = any("sail" in catalogue.KINDS[group.kind].verbs for group in self.draft.groups)
        if noun == "environment" and term.has("weather") and afloat and self.draft.environment is None:
            # Ships "in the snow" sail while it snows; ships "in the waves" are at sea.
            return noun if catalogue.ENVIRONMENTS[str(term.value(noun))].has_water else "weather"
        if self.link or (noun == "kind" and self.waiting.is_open()):
            return noun
        if self._noun_follows() and term.has("material"):
            return "material"
        others = ("verb", "weather", "hour", "material")
        return next((category for category in others if term.has(category)), noun)

    def _noun_follows(self) -> bool:
        """Whether a thing follows before any other kind of word but adjectives and articles."""
        for term in self.terms[self.index + 1 :]:
            if term.has("kind") or term.has("mutual") or term.text in ("it", "them"):
                return True
            if term.has("environment"):
                return False
            adjective = term.has("color", "size", "material", "count") or term.text in (
                "the",
                "around",
                "each",
                "other",
            )
            if not adjective:
                return False
        return False

    # Words without senses

    def _take_plain(self, term: Term) -> None:
        """Numbers, punctuation, pronouns, "and", negations, unknown words."""
        text = term.text
        if text[-1].isdigit():
            self._number(float(text.replace("−", "-")))
        elif text in ".;:!?":
            self._end_clause()
        elif text in (",", "and", "or", "with", "plus", "as", "while"):
            self._conjunction(text)
        elif text in NEGATIONS:
            self.waiting.negated = True
        elif text in PRONOUNS:
            self._pronoun(text)
        elif text in COPULAS:
            self.after_copula = True
        elif text == "the":
            self.waiting.article = True
        elif text == "against":
            self.link = None
        elif term.is_unknown:
            self._unknown(text)

    def _end_clause(self) -> None:
        """A full stop: nothing stays open."""
        self._close_adjectives()
        self.link, self.open, self.joining = None, [], False

    def _conjunction(self, text: str) -> None:
        """ "and" and "," join subjects; "with" starts new ones, unless a fight is open; "as" changes nothing."""
        following = self.terms[self.index + 1 : self.index + 2]
        if text in ("and", ",") and self.waiting.color and following and following[0].has("color"):
            return  # "red and white" describes one thing
        self._close_adjectives(keep=text in (",", "and"))
        if text == "with" and any(action.verb == "battle" for action in self.open):
            return
        if self.link != "between" and text not in (",",):
            self.link = None
        self.open = []
        self.joining = text in (",", "and", "or", "plus") or self.joining
        if text == "with":
            self.joining = False

    def _pronoun(self, text: str) -> None:
        """ "it" as an object points to the thing before; as a subject back to the main ones."""
        target = self.last if self.last not in self.subjects else next(iter(self.main), None)
        if target is None or target in self.subjects:
            others = [group for group in self.draft.groups if group not in self.subjects]
            target = others[-1] if others else target
        if text in ("it", "them") and (self.link or self.open) and target is not None:
            self._object(target)
        elif text in ("it", "they", "themselves"):
            self.subjects = list(self.main)
            self.link = None

    def _unknown(self, text: str) -> None:
        """An unknown word: reported with the nearest known; a slip of the pen is read as what was meant."""
        if any(word == text for word, _near in self.draft.unknown):
            return
        if len(self.draft.unknown) >= MAXIMUM_UNKNOWN:
            return
        near, is_slip = nearest(text)
        self.draft.unknown.append((text, near))
        if is_slip:
            self.draft.notes.append(f"read {text!r} as {near!r}")
            senses = lexicon().phrases[tuple(near.split())]
            self._take(Term(text, senses, "ing" if text.endswith("ing") else ""))
        else:
            self.draft.notes.append(f"{text!r} is not known; the nearest that is known is {near!r}")

    # Adjectives

    def _number(self, value: float) -> None:
        self.waiting.count = value

    def _count(self, term: Term) -> None:
        value = term.value("count")
        if self.waiting.count not in (None, 1) and value == 1:
            return
        if term.text in ("a", "an"):
            self.waiting.article = True
        self.waiting.count = float(value or 0)

    def _multiplier(self, term: Term) -> None:
        self.waiting.count = (self.waiting.count or 1.0) * float(term.value("multiplier") or 1)

    def _size(self, term: Term) -> None:
        self.waiting.size = str(term.value("size"))

    def _color(self, term: Term) -> None:
        color = str(term.value("color"))
        if self.waiting.color and self.waiting.color != color:
            if self.waiting.second in (None, color):
                self.waiting.second = color
            else:
                self.draft.notes.append(f"two colours for each thing at most: left out {color!r}")
            return
        self.waiting.color = color

    def _material(self, term: Term) -> None:
        self.waiting.material = str(term.value("material"))
        if term.has("color"):
            self.waiting.color = self.waiting.color or str(term.value("color"))

    def _close_adjectives(self, keep: bool = False) -> None:
        """Adjectives without a noun belong to the subjects after "is" or "painted", else to nothing."""
        waiting = self.waiting
        if self.after_copula:
            for group in self.subjects:
                group.color = waiting.color or group.color
                group.second = waiting.second or group.second
                group.material = waiting.material or group.material
                group.size = waiting.size or group.size
        elif keep and waiting.is_open():
            return
        for action in waiting.actions:
            self._attach(action)
        self.after_copula = False
        self.waiting = _Waiting()

    # Nouns

    def _kind(self, term: Term) -> None:
        """A thing: object, target or new subject."""
        kind = str(term.value("kind"))
        waiting, self.waiting = self.waiting, _Waiting()
        self.after_copula = False
        if waiting.negated or waiting.count == 0:
            self.draft.notes.append(f"left out {kind!r}, as asked")
            self.link = None
            return
        known = self._mentioned(kind, waiting)
        group = known or Group(kind, self._how_many(waiting, term), waiting.color, waiting.material, waiting.size,
                               waiting.second)  # fmt: skip
        if known is None:
            self.draft.groups.append(group)
        group.actions += waiting.actions
        self.last = group
        if self.link or self.open:
            self._object(group)
        else:
            self._subject(group)

    def _mentioned(self, kind: str, waiting: _Waiting) -> Group | None:
        """ "the duck" after "a duck" is the same duck."""
        plain = waiting.article and waiting.count is None and not (waiting.color or waiting.material or waiting.size)
        return next((group for group in self.draft.groups if plain and group.kind == kind), None)

    def _how_many(self, waiting: _Waiting, term: Term) -> int:
        """The count, clipped to what a world holds."""
        if waiting.count is None:
            return 3 if term.form in ("s", "irregular") else 1
        count = int(min(max(round(waiting.count), 1), MAXIMUM_COUNT))
        if count != waiting.count:
            self.draft.notes.append(f"{waiting.count:g} of {term.text!r} is not possible; took {count}")
        return count

    def _subject(self, group: Group) -> None:
        """Starts new subjects, or joins the ones in hand after "and"."""
        # "A ball rolling and a crate": the crate does not roll. "A ball and a crate rolling": both do.
        joins = self.joining and not any(one.actions for one in self.subjects)
        self.subjects = [*self.subjects, group] if joins else [group]
        self.main = [*self.main, group] if self.joining else [group]
        self.joining = False
        if self.pace is not None and group.actions:
            group.actions[-1].speed, self.pace = self.pace, None

    def _object(self, group: Group) -> None:
        """Closes an open verb or relation."""
        for action in self.open:
            action.target = group
            self._fight_back(action, group)
        if not self.open and self.link:
            for subject in self.subjects:
                if subject is not group:
                    subject.relations.append((self.link, group))
            if self.link == "around":
                self._sail_around(group)
        if not self.subjects:
            self._subject(group)
        self.link = self.link if self.link == "between" and self._and_follows() else None
        self.open = []

    def _fight_back(self, action: Action, group: Group) -> None:
        """Who is fought, fights, if it can and does nothing else."""
        can = action.verb in catalogue.KINDS[group.kind].verbs
        if action.verb == "battle" and can and not group.actions and self.subjects and group not in self.subjects:
            group.actions.append(Action("battle", self.subjects[0]))

    def _sail_around(self, group: Group) -> None:
        """What moves around something circles it."""
        for subject in self.subjects:
            moving = [action for action in subject.actions if action.verb in ("sail", "drift") and not action.target]
            for action in moving:
                action.verb, action.target = "circle", group

    def _and_follows(self) -> bool:
        following = self.terms[self.index + 1 : self.index + 2]
        return bool(following) and following[0].text == "and"

    def _environment(self, term: Term) -> None:
        """A place. The first one is the world; a thing may be on a thing in a place."""
        place = str(term.value("environment"))
        waiting, self.waiting = self.waiting, _Waiting()
        if waiting.negated:
            return
        if self.draft.environment in (None, place):
            self.draft.environment = place
        else:
            self.draft.notes.append(f"a world is one place: took {self.draft.environment!r}, left out {place!r}")
        self.link, self.open = None, []

    def _mutual(self, _term: Term) -> None:
        for action in self.open:
            action.target = "mutual"
        self.link, self.open = None, []

    # Verbs and relations

    def _verb(self, term: Term) -> None:
        """A verb of the subjects; of the noun to come in "a drifting duck" and "a battle between ships"."""
        waiting = self.waiting
        negated, waiting.negated = waiting.negated, False
        if negated:
            self.draft.notes.append(f"left out {term.text!r}, as asked")
            return
        self._act(term, Action(str(term.value("verb")), speed=self.pace or 1.0))

    def _pursuit(self, term: Term) -> None:
        """A verb of going for what follows: "chasing a duck", "crashes into the island"."""
        if self.waiting.negated:
            self.waiting.negated = False
            self.draft.notes.append(f"left out {term.text!r}, as asked")
            return
        speed = self.pace or float(term.value("pursuit") or 1.0)
        self._act(term, Action("sail", speed=speed, pursues=True))

    def _act(self, term: Term, action: Action) -> None:
        """Hands a verb to those who do it."""
        waiting = self.waiting
        self.pace = None
        participle = term.form in ("ing", "ed")
        # A participle after an article, or before any subject, describes the noun that follows.
        if self._noun_follows() and (waiting.is_open() or not self.subjects) and (participle or not self.subjects):
            waiting.actions.append(action)
            if not participle:
                waiting.count = None
            return
        if not self.subjects:
            waiting.actions.append(action)
            return
        if self.link == "in":
            self.link = None
        self._close_adjectives()
        if term.form == "s" and waiting.is_open():
            return
        self._attach(action)

    def _attach(self, action: Action) -> None:
        """Gives a verb to the subjects, or to the object just named when only that can do it."""
        actors = self.subjects
        if self.last is not None and self.last not in actors and actors:
            head = any(action.verb in catalogue.KINDS[group.kind].verbs for group in actors)
            if not head and action.verb in catalogue.KINDS[self.last.kind].verbs:
                actors = [self.last]
        able = [group for group in actors if action.verb in catalogue.KINDS[group.kind].verbs]
        self.open = []
        self.joining = False
        for group in able or actors:
            own = Action(action.verb, action.target, action.speed, action.pursues)
            group.actions.append(own)
            if own.verb in TRANSITIVE or own.pursues:
                self.open.append(own)

    def _relation(self, term: Term) -> None:
        """A preposition: what follows is its object."""
        relation = str(term.value("relation"))
        self._close_adjectives_before(relation)
        fights = any(action.verb in TRANSITIVE for action in self.open)
        if fights and (relation == "around" or term.text == "against"):
            return
        if any(action.verb == "battle" for action in self.waiting.actions) and relation in ("between", "in"):
            return
        self.open = []
        self.joining = False
        self.link = relation

    def _close_adjectives_before(self, relation: str) -> None:
        """Adjectives end at a preposition; verbs that wait for their noun do not."""
        actions = self.waiting.actions
        self.waiting.actions = []
        self._close_adjectives()
        if actions and self.subjects:
            for action in actions:
                self._attach(action)
        else:
            self.waiting.actions = actions

    def _pace(self, term: Term) -> None:
        """An adverb: of the verb before it, or, without one, of the verb to come."""
        speed = float(term.value("pace") or 1.0)
        done = [group.actions[-1] for group in self.subjects if group.actions]
        for action in done:
            action.speed = speed
        self.pace = None if done else speed

    # Light, weather, camera

    def _hour(self, term: Term) -> None:
        if not self.waiting.negated:
            self.draft.hour = str(term.value("hour"))
        self._forget()

    def _weather(self, term: Term) -> None:
        self.draft.weather.append((str(term.value("weather")), self.waiting.negated))
        self._forget()

    def _camera(self, term: Term) -> None:
        self.draft.camera.append(str(term.value("camera")))
        self._forget()

    def _forget(self) -> None:
        """What described the light, weather or camera describes no thing: "a bright red dawn" is no red duck."""
        self.waiting.negated = False
        if self.link in ("in", "on", "under", "near", "next to", "above"):
            self.link = None
            self.waiting = _Waiting(actions=self.waiting.actions)
        if not self._noun_follows():
            self.waiting = _Waiting(actions=self.waiting.actions)
