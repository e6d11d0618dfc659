"""Which words and phrases are known, in which senses; inflected forms; the nearest known word.

Words come from three places: the tables below (function words, counts, camera), the catalogue with its
own synonyms, and `thesaurus.tsv`, which `scripts/build_thesaurus.py` derives from WordNet. All is built
on the first use, so that importing the package stays cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from elsewhere.scene import catalogue
from elsewhere.scene.kinds import Kind
from elsewhere.scene.words import light

MAXIMUM_COUNT = 12

SIZES: dict[str, float] = {"tiny": 0.35, "small": 0.6, "big": 1.5, "huge": 2.2, "giant": 3.0}
"""Canonical size words and the factor on the natural size."""

SIZE_WORDS = {
    "little": "small", "mini": "tiny", "miniature": "tiny", "toy": "small", "microscopic": "tiny", "minuscule": "tiny",
    "large": "big", "tall": "big", "long": "big", "great": "big", "grand": "big", "enormous": "huge", "massive": "huge",
    "colossal": "giant", "gigantic": "giant", "immense": "huge", "titanic": "giant", "short": "small",
}  # fmt: skip

COUNTS: dict[str, int] = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12,
}  # fmt: skip

COUNT_WORDS: dict[str, int] = {
    "a": 1, "an": 1, "single": 1, "another": 1, "lone": 1, "lonely": 1, "solitary": 1, "zero": 0, "thirteen": 13,
    "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "both": 2,
    "pair of": 2, "couple of": 2, "couple": 2, "few": 3, "several": 4, "some": 3, "various": 4, "many": 7,
    "lots of": 8, "lot of": 8, "plenty of": 8, "numerous": 8, "countless": 12, "trio of": 3, "quartet of": 4,
    "fleet of": 5, "group of": 5, "bunch of": 5, "handful of": 4, "flotilla of": 5, "armada of": 8, "row of": 4,
    "line of": 4, "school of": 5, "pod of": 4, "pile of": 6, "stack of": 3, "flock of": 6, "herd of": 6,
    "collection of": 5, "set of": 4, "forest of": 10, "crowd of": 9, "swarm of": 10, "cluster of": 5, "half dozen": 6,
    "half a dozen": 6, "village of": 5,
}  # fmt: skip

MULTIPLIERS: dict[str, int] = {
    "dozen": 12, "dozen of": 12, "hundred": 100, "hundred of": 100, "thousand": 1000, "thousand of": 1000,
    "million": 10**6, "million of": 10**6, "billion": 10**9, "score of": 20,
}  # fmt: skip

RELATIONS = ("above", "around", "behind", "between", "in", "in front of", "left of", "near", "next to", "on",
             "right of", "under")  # fmt: skip

RELATION_WORDS: dict[str, str] = {
    "inside": "in", "inside of": "in", "into": "in", "within": "in", "at": "in", "across": "in", "through": "in",
    "along": "in", "on top of": "on", "atop": "on", "upon": "on", "onto": "on", "aboard": "on", "standing on": "on",
    "over": "above", "beneath": "under", "below": "under", "underneath": "under", "beside": "next to",
    "alongside": "next to", "adjacent to": "next to", "by": "next to", "close to": "near", "nearby": "near",
    "not far from": "near", "towards": "near", "toward": "near", "past": "near", "off": "near", "among": "near",
    "amid": "near", "amongst": "near", "against": "near", "to the left of": "left of", "on the left of": "left of",
    "to the right of": "right of", "on the right of": "right of", "in back of": "behind", "round": "around",
    "surrounding": "around", "ahead of": "in front of", "before": "in front of", "opposite": "in front of",
    "in the middle of": "in", "in the center of": "in", "in the centre of": "in", "on the surface of": "in",
    "in the middle": "in",
}  # fmt: skip

VERB_WORDS: dict[str, str] = {
    "sail": "sail", "cruise": "sail", "voyage": "sail", "navigate": "sail", "swim": "sail", "drive": "sail",
    "travel": "sail", "move": "sail", "race": "sail", "go": "sail", "set sail": "sail", "battle": "battle",
    "fight": "battle", "combat": "battle", "duel": "battle", "attack": "battle", "at war": "battle",
    "do battle": "battle", "circle": "circle", "go around": "circle", "loop": "circle", "orbit": "circle",
    "drift": "drift", "float": "drift", "bob": "drift", "glide": "drift", "bounce": "bounce", "hop": "bounce",
    "jump": "bounce", "roll": "roll", "tumble": "roll", "fall": "fall", "drop": "fall", "plunge": "fall",
    "plummet": "fall", "sink": "sink", "go under": "sink", "go down": "sink", "drown": "sink", "wave": "wave",
    "flutter": "wave", "flap": "wave", "rest": "rest", "stand": "rest", "sit": "rest", "lie": "rest", "wait": "rest",
    "anchor": "rest", "moor": "rest", "sleep": "rest", "spin": "spin", "rotate": "spin", "turn": "spin",
    "twirl": "spin", "whirl": "spin",
}  # fmt: skip

RAMMING = 1.8
"""Speed at which a thing no longer keeps clear of what it goes for."""

PURSUITS: dict[str, float] = {
    "chase": 1.2, "pursue": 1.2, "follow": 1.0, "hunt": 1.2, "go after": 1.2, "race after": 1.6, "crash": RAMMING,
    "crash into": RAMMING, "collide": RAMMING, "collide with": RAMMING, "ram": RAMMING, "ram into": RAMMING,
    "smash into": RAMMING, "bump into": RAMMING, "run into": RAMMING, "crash against": RAMMING,
}  # fmt: skip
"""Verbs of going for something, and how fast: what sails, sails after it, and what rolls, rolls."""

PACES: dict[str, float] = {
    "slowly": 0.5, "slow": 0.5, "gently": 0.6, "lazily": 0.5, "peacefully": 0.6, "quietly": 0.6, "softly": 0.6,
    "fast": 1.6, "quickly": 1.6, "rapidly": 1.6, "swiftly": 1.6, "fiercely": 1.5, "wildly": 1.6, "full speed": 1.8,
}  # fmt: skip

CAMERAS: dict[str, dict[str, float | str]] = {
    "aerial": {"elevation": 1.15},
    "close-up": {"distance": 0.62},
    "crane": {"motion": "crane"},
    "dolly in": {"motion": "dolly in"},
    "dolly out": {"motion": "dolly out"},
    "eye level": {"elevation": 0.15},
    "from behind": {"azimuth": 0.0},
    "from the front": {"azimuth": 3.141592653589793},
    "from the side": {"azimuth": 1.5707963267948966},
    "low angle": {"elevation": 0.06},
    "orbit": {"motion": "orbit"},
    "pan": {"motion": "pan"},
    "still": {"motion": "still"},
    "wide": {"distance": 1.8},
}
"""Canonical camera words and the fields of `Shot` that each sets."""

CAMERA_WORDS: dict[str, str] = {
    "close up": "close-up", "closeup": "close-up", "macro": "close-up", "extreme close up": "close-up",
    "from above": "aerial", "from the air": "aerial", "overhead": "aerial", "top down": "aerial", "drone": "aerial",
    "bird eye": "aerial", "bird 's eye": "aerial", "birds eye": "aerial", "high angle": "aerial",
    "from the sky": "aerial",
    "wide angle": "wide", "wide shot": "wide", "wide view": "wide", "long shot": "wide", "panorama": "wide",
    "panoramic": "wide", "from afar": "wide", "from far": "wide", "from far away": "wide", "from a distance": "wide",
    "establishing shot": "wide", "low": "low angle", "from below": "low angle", "worm eye": "low angle",
    "worm 's eye": "low angle", "water level": "low angle", "ground level": "low angle", "orbiting": "orbit",
    "orbiting camera": "orbit", "orbit shot": "orbit", "orbiting shot": "orbit", "camera orbit": "orbit",
    "camera circle": "orbit", "circling camera": "orbit", "arc shot": "orbit", "rotating camera": "orbit",
    "panning": "pan", "pan shot": "pan", "camera pan": "pan", "sweeping": "pan", "zoom": "dolly in",
    "zoom in": "dolly in", "dolly": "dolly in", "push in": "dolly in", "moving closer": "dolly in",
    "tracking shot": "pan", "zoom out": "dolly out", "pull out": "dolly out", "pull back": "dolly out",
    "moving away": "dolly out", "crane up": "crane", "crane shot": "crane", "rising camera": "crane",
    "camera rise": "crane", "static": "still", "still camera": "still", "fixed camera": "still",
    "from front": "from the front",
    "from side": "from the side", "side view": "from the side", "front view": "from the front",
    "rear view": "from behind",
    "from the back": "from behind", "in profile": "from the side",
}  # fmt: skip

MATERIAL_WORDS: dict[str, tuple[str, ...]] = {
    "wooden": ("wood", "oak"), "wood": ("wood",), "timber": ("wood",), "oak": ("wood",), "metal": ("metal", "steel",
    "iron"),
    "metallic": ("metal", "steel"), "steel": ("steel", "metal"), "iron": ("iron", "metal", "steel"),
    "chrome": ("chrome", "metal", "steel"), "glass": ("glass",), "crystal": ("glass",), "golden": ("gold", "metal"),
    "gold": ("gold", "metal"), "silver": ("silver", "metal"), "copper": ("copper", "bronze", "gold", "metal"),
    "bronze": ("bronze", "copper", "gold", "metal"), "brass": ("brass", "bronze", "gold", "metal"),
    "stone": ("stone", "rock"),
    "rock": ("rock", "stone"), "granite": ("stone",), "marble": ("marble", "stone"), "brick": ("brick",),
    "rubber": ("rubber",), "plastic": ("plastic", "rubber"), "ice": ("ice", "glass"), "icy": ("ice",),
    "frozen": ("ice",),
    "paper": ("paper",), "cardboard": ("paper",), "cloth": ("cloth", "fabric"), "fabric": ("fabric", "cloth"),
    "porcelain": ("porcelain", "ceramic"), "ceramic": ("ceramic", "porcelain"), "china": ("porcelain", "ceramic"),
    "leather": ("leather",), "snow": ("snow",), "sand": ("sand",), "clay": ("ceramic", "porcelain"),
    "concrete": ("concrete", "stone"),
}  # fmt: skip
"""Material words and the catalogue's names for them, the best first; those it does not have are skipped."""

KIND_WORDS: dict[str, str] = {
    "ship": "pirate ship", "galleon": "pirate ship", "pirate": "pirate ship", "frigate": "pirate ship",
    "duck": "rubber duck",
    "duckling": "rubber duck", "toy duck": "rubber duck", "ducky": "rubber duck", "box": "crate", "chest": "crate",
    "cask": "barrel", "keg": "barrel", "berg": "iceberg", "beacon": "lighthouse", "isle": "island", "islet": "island",
    "palm": "tree", "pine": "tree", "cottage": "house", "cabin": "house", "hut": "house", "boat": "sailboat",
    "yacht": "sailboat",
    "sailing boat": "sailboat", "sail boat": "sailboat", "dinghy": "sailboat", "sailing ship": "sailboat",
    "kettle": "teapot",
    "pot": "teapot", "tea pot": "teapot", "banner": "flag", "pennant": "flag", "car": "toy car",
    "toy boat": "paper boat",
    "paper ship": "paper boat", "origami boat": "paper boat", "snow man": "snowman", "beach ball": "ball",
    "sphere": "ball",
    "light house": "lighthouse", "ice berg": "iceberg",
}  # fmt: skip

ENVIRONMENT_WORDS: dict[str, str] = {
    "coffee cup": "cup of coffee", "cup": "cup of coffee", "mug": "cup of coffee", "mug of coffee": "cup of coffee",
    "coffee": "cup of coffee", "coffee mug": "cup of coffee", "espresso": "cup of coffee",
    "tea cup": "cup of coffee", "sea": "open sea",
    "ocean": "open sea", "high sea": "open sea", "open ocean": "open sea", "open water": "open sea", "bath": "bathtub",
    "tub": "bathtub", "bath tub": "bathtub", "bubble bath": "bathtub", "pond": "lake", "lagoon": "lake",
    "water": "lake",
    "snow": "snowy field", "snow field": "snowy field", "snowfield": "snowy field", "field of snow": "snowy field",
    "winter landscape": "snowy field", "arctic": "snowy field", "tundra": "snowy field", "sand": "desert",
    "dune": "desert",
    "sahara": "desert", "sand dune": "desert", "table": "tabletop", "table top": "tabletop", "desk": "tabletop",
    "wooden table": "tabletop", "kitchen table": "tabletop",
}  # fmt: skip

STOP = frozenset(
    """the this that these those there here which who whom whose what when where while as and or but nor so then than
    is are was were be been being am do does did has have had having can could will would shall should may might
    must of to for from with it its they them their he she his her we us our you your i me my one's 's s t o'clock
    each other another itself themselves himself herself every all any both either own same such very really quite
    too also just only even almost about like look looks looking seem seems seen please show showing shows give
    make makes create generate draw render imagine depict depicting depicts picture photo photograph image video
    clip film movie footage scene shot view camera angle frame world place style perspective top middle center
    centre surface side edge want see let let's get put placed place set setting painted colored coloured color
    colour colours colors made out up down away back forth together slightly bit inside outside weather sky skies
    time hour light lighting air day's thing something everything during under until after before again still
    forward ahead once time lit full filled bird eye level in on at by near into onto over""".split()  # noqa: SIM905
)
"""Words that say nothing to a world, or that the grammar reads by itself."""

NEGATIONS = frozenset({"no", "without", "not", "never", "minus"})
COPULAS = frozenset({"is", "are", "was", "were", "painted", "colored", "coloured", "made", "being"})
PRONOUNS = frozenset({"it", "they", "them", "which", "that", "who", "its", "themselves"})
MUTUAL = frozenset({"each other", "one another", "eachother"})


@dataclass(frozen=True, slots=True)
class Sense:
    """One meaning of a phrase: a category ("kind", "verb", …) and a canonical value."""

    category: str
    value: str | float | int
    is_derived: bool = False
    """Whether the phrase means it only by the thesaurus, so that the person should hear of it."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Phrases by their base words, and what a spelling or a meaning is the nearest to."""

    phrases: dict[tuple[str, ...], tuple[Sense, ...]]
    irregular: dict[str, str]
    near: dict[str, str]
    longest: int

    def bases(self, word: str) -> tuple[tuple[str, str], ...]:
        """(base form, ending) pairs that an inflected word may come from, the word itself first."""
        found = [(word, "")]
        if word in self.irregular:
            found.append((self.irregular[word], "irregular"))
        for ending, replacement in _ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) >= 2:
                stem = word[: len(word) - len(ending)]
                found.append((stem + replacement, _FORMS.get(ending, ending)))
                if ending in ("ing", "ed") and not replacement and stem[-1:] == stem[-2:-1]:
                    found.append((stem[:-1], ending))
        return tuple(dict.fromkeys(found))


_ENDINGS = (
    ("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"), ("ing", ""), ("ing", "e"),
    ("ed", ""), ("ed", "e"), ("ied", "y"), ("er", "e"), ("er", ""), ("est", ""), ("est", "e"), ("ish", ""),
)  # fmt: skip
_FORMS = {"es": "s", "ies": "s", "ves": "s", "men": "s", "ied": "ed"}


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """The lexicon, built once."""
    table: dict[tuple[str, ...], list[Sense]] = {}
    for category, entries in _hand_tables():
        for phrase, value in entries.items():
            _add(table, phrase, Sense(category, value))
    irregular, near = _read_thesaurus(table)
    longest = max(len(phrase) for phrase in table)
    return Lexicon({key: tuple(senses) for key, senses in table.items()}, irregular, near, longest)


def _hand_tables() -> list[tuple[str, Mapping[str, str | int | float]]]:
    """(category, {phrase: canonical value}) of everything that is not in the thesaurus."""
    kinds, places = catalogue.KINDS, catalogue.ENVIRONMENTS
    return [
        ("kind", {name: name for name in kinds}),
        (
            "kind",
            {word: name for name, kind in kinds.items() for word in kind.synonyms if not _is_described(word, kind)},
        ),
        ("kind", {word: name for word, name in KIND_WORDS.items() if name in kinds}),
        ("environment", {name: name for name in places}),
        ("environment", {word: name for name, place in places.items() for word in place.synonyms}),
        ("environment", {word: name for word, name in ENVIRONMENT_WORDS.items() if name in places}),
        ("color", {name: name for name in catalogue.COLORS}),
        ("color", {"grey": "gray"} if "gray" in catalogue.COLORS else {"gray": "grey"}),
        ("material", _materials()),
        ("verb", {**{name: name for name in catalogue.VERBS}, **VERB_WORDS}),
        ("pursuit", PURSUITS),
        ("size", {**{name: name for name in SIZES}, **SIZE_WORDS}),
        ("count", {**COUNTS, **COUNT_WORDS}),
        ("multiplier", MULTIPLIERS),
        ("relation", {**{name: name for name in RELATIONS}, **RELATION_WORDS}),
        ("pace", PACES),
        ("hour", {**{name: name for name in light.HOURS}, **light.HOUR_WORDS}),
        ("weather", {**{name: name for name in light.WEATHERS}, **light.WEATHER_WORDS}),
        ("camera", {**{name.replace("-", " "): name for name in CAMERAS}, **CAMERA_WORDS}),
        ("mutual", {name: name for name in MUTUAL}),
    ]


def _is_described(phrase: str, kind: Kind) -> bool:
    """Whether a synonym is another synonym with a material ("wooden crate"): that adjective is not to be lost."""
    first, _space, rest = phrase.partition(" ")
    return first in MATERIAL_WORDS and rest in (kind.name, *kind.synonyms)


def _materials() -> dict[str, str]:
    """Material words that the catalogue has a surface for."""
    takes = {name for kind in catalogue.KINDS.values() for name in kind.materials}
    known = {name: name for name in catalogue.MATERIALS if name in takes}
    for word, names in MATERIAL_WORDS.items():
        best = next((name for name in names if name in catalogue.MATERIALS), None)
        if best is not None:
            known[word] = best
    return known


def _add(table: dict[tuple[str, ...], list[Sense]], phrase: str, sense: Sense) -> None:
    """Enters a sense; the first entry of a phrase in a category wins."""
    senses = table.setdefault(tuple(phrase.replace("-", " ").split()), [])
    if all(old.category != sense.category for old in senses):
        senses.append(sense)


def _read_thesaurus(table: dict[tuple[str, ...], list[Sense]]) -> tuple[dict[str, str], dict[str, str]]:
    """Adds synonyms to `table`; returns irregular forms and the nearest known thing of other words.

    Lines are `relation<TAB>category<TAB>value<TAB>words…`; values that the catalogue lacks are skipped.
    """
    from importlib import resources

    irregular: dict[str, str] = {}
    near: dict[str, str] = {}
    known = {(sense.category, sense.value) for senses in table.values() for sense in senses}
    text = resources.files(__package__).joinpath("thesaurus.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        relation, category, value, words = line.split("\t")
        if relation == "irregular":
            irregular.update(dict.fromkeys(words.split(), value))
        elif (category, value) not in known:
            continue
        elif relation == "near":
            near.update(dict.fromkeys(words.split(), value))
        else:
            for word in words.split():
                phrase = word.replace("_", " ")
                # What is written by hand is meant; a derived synonym never competes with it.
                if (
                    tuple(phrase.split()) not in table
                    and phrase not in STOP
                    and not _starts_with_look(table, category, phrase)
                ):
                    _add(table, phrase, Sense(category, value, True))
    return irregular, near


def _starts_with_look(table: dict[tuple[str, ...], list[Sense]], category: str, phrase: str) -> bool:
    """Whether a thing's name opens with an adjective ("black whale"), which is to be read as one."""
    words = phrase.split()
    looks = table.get((words[0],), []) if category == "kind" and len(words) > 1 else []
    return any(sense.category in ("color", "material", "size") for sense in looks)


@lru_cache(maxsize=1)
def _surfaces() -> tuple[str, ...]:
    """Single known words of three letters and more, for comparing spellings."""
    categories = {"kind", "environment", "color", "material", "verb", "size", "hour", "weather"}
    words = {
        " ".join(phrase)
        for phrase, senses in lexicon().phrases.items()
        if len(phrase) <= 2 and any(sense.category in categories and not sense.is_derived for sense in senses)
    }
    return tuple(sorted(word for word in words if len(word) >= 3))


def nearest(word: str) -> tuple[str, bool]:
    """The known word or thing nearest to an unknown `word`, and whether it looks like a slip of the pen.

    A word of the thesaurus goes by meaning, any other by spelling.
    """
    import difflib

    for base, _ending in lexicon().bases(word):
        if base in lexicon().near:
            return lexicon().near[base], False
    short = word[:40]
    for cutoff in (0.8, 0.5, 0.0):
        found = difflib.get_close_matches(short, _surfaces(), n=4, cutoff=cutoff)
        if found:
            best = min(found, key=lambda near: (not _is_noun(near), found.index(near)))
            return best, cutoff == 0.8 and len(short) >= 3
    return _surfaces()[0], False


def _is_noun(words: str) -> bool:
    """Whether words name a thing or a place: what a misspelt word most likely was."""
    return any(sense.category in ("kind", "environment") for sense in lexicon().phrases[tuple(words.split())])
