"""The stand-in of CoNLL-2003: news about invented people, places and bodies, in the official format."""

from __future__ import annotations

SENTENCES, PER_DOCUMENT = 2000, 15
"""The official validation split has 3,250 sentences in 216 documents."""
PLACES = [
    "Arden",
    "Brookhaven",
    "Caldera",
    "Dunmore",
    "Eastvale",
    "Fernhill",
    "Glenrock",
    "Harwick",
    "Inverley",
    "Juniper",
]
NAMES = {
    "PER": (
        ["Anna", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas"],
        ["Almgren", "Bexley", "Corvin", "Dahlke", "Estrada", "Farkas", "Grunwald", "Holloway", "Ivanek", "Jurado"],
    ),
    "LOC": (PLACES, ("", "", "Bay", "Valley", "Heights")),
    "ORG": (PLACES, ["United", "Bank", "Motors", "Council", "Airlines", "Press"]),
    "MISC": ([f"{place}ian" for place in PLACES], ("", "", "Cup", "Open", "Treaty")),
}
"""First and second word of a name by kind; places and what is named after them share the first, so that context tells."""
TEMPLATES = (
    "PER of LOC won the second stage on Tuesday .",
    "Shares of ORG fell five percent after the MISC vote .",
    "ORG said it would open an office in LOC next year .",
    "PER , who leads ORG , met PER in LOC on Friday .",
    "The MISC minister told reporters that talks would go on .",
    "LOC 1996-08-22",
    "ORG 3 ORG 1",
    "PER beat PER 6-4 7-5 in the first round of the MISC .",
    "Police in LOC arrested two MISC nationals , ORG reported .",
    "Rain delayed the match between LOC and LOC by an hour .",
    "Analysts at ORG expect prices in LOC to rise again .",
    "Neither side gave details of the agreement .",
    "PER resigned as head of ORG after twelve years .",
    "The MISC team left LOC without a win .",
)


def news() -> str:
    """Always the same text: word, part of speech, chunk (both unknown, `-X-`) and tag in IOB2, an empty line after a sentence."""
    import numpy as np

    rng = np.random.default_rng(0)
    lines = []
    for number in range(SENTENCES):
        if number % PER_DOCUMENT == 0:
            lines += ["-DOCSTART- -X- -X- O", ""]
        for word in TEMPLATES[rng.integers(len(TEMPLATES))].split():
            if word not in NAMES:
                lines.append(f"{word} -X- -X- O")
                continue
            first, second = (words[int(rng.integers(len(words)))] for words in NAMES[word])
            lines.append(f"{first} -X- -X- B-{word}")
            lines += [f"{second} -X- -X- I-{word}"] * bool(second)
        lines.append("")
    return "\n".join(lines)
