"""Songs and voices as sound: a melody from a text's hash, syllables from its words."""

from __future__ import annotations

import array
import hashlib
import io
import math
import random
import re
import wave
from collections.abc import Iterator
from functools import cache
from itertools import cycle

RATE = 22_050
"""Samples per second. One channel, 16 bits."""
_SHORTEST = 1.0
_LONGEST = 12.0
_LOUDEST = 20_000
_TONE = 0.28
_SYLLABLE = 0.16
_PAUSE = 0.09
# Tones of a minor pentatonic scale harmonize in any order.
_SCALE = (0, 3, 5, 7, 10, 12, 15, 17)
_BASE = 220.0
_FADE = 0.012
_PITCHES = (108.0, 120.0, 136.0)
# The first two formants of each vowel, in hertz.
_FORMANTS = {"a": (730, 1090), "e": (530, 1840), "i": (270, 2290), "o": (570, 840), "u": (300, 870)}
_VOWELS = re.compile(r"[aeiou]+")


def song(text: str, seconds: float) -> bytes:
    """Return a melody as WAV, 1 to 12 seconds. Equal arguments give equal bytes. Blocks."""
    chance = _chance(text)
    length = _length(seconds)
    melody = [chance.choice(_SCALE) for _ in range(math.ceil(length / _TONE))]
    tones = {step: _tone(step) for step in sorted(set(melody))}
    return _wav((tones[step] for step in melody), length)


def speech(text: str, seconds: float) -> bytes:
    """Return a WAV of 1 to 12 seconds that resembles a voice repeating the text.

    Equal arguments give equal bytes. Blocks.
    """
    chance = _chance(text)
    length = _length(seconds)
    words = [(_vowels(word), chance.choice(_PITCHES)) for word in text.split()] or [("a", _PITCHES[0])]
    syllable = cache(_syllable)
    pause = array.array("h", bytes(2 * round(_PAUSE * RATE)))
    sounds = (
        sound for vowels, pitch in cycle(words) for sound in (*(syllable(vowel, pitch) for vowel in vowels), pause)
    )
    return _wav(sounds, length)


def _vowels(word: str) -> str:
    """Return one vowel for each syllable. A word without vowels is one syllable."""
    found = _VOWELS.findall(word.lower())
    return "".join(group[0] for group in found) or "aeiou"[ord(word[0]) % 5]


def _tone(steps: int) -> array.array[int]:
    pitch = _BASE * 2 ** (steps / 12)
    return _mix((pitch, pitch * 2, pitch / 2), (0.6, 0.2, 0.2), _TONE)


def _syllable(vowel: str, pitch: float) -> array.array[int]:
    """Return the sound of a vowel: its formants, each moved to the nearest overtone of the voice."""
    formants = (max(1, round(formant / pitch)) * pitch for formant in _FORMANTS[vowel])
    return _mix((pitch, *formants), (0.5, 0.3, 0.15), _SYLLABLE)


def _chance(text: str) -> random.Random:
    return random.Random(hashlib.sha256(text.encode("utf-8", "replace")).digest())  # noqa: S311 - repeatable on purpose


def _length(seconds: float) -> float:
    return min(_LONGEST, max(_SHORTEST, seconds))


def _mix(pitches: tuple[float, ...], loudness: tuple[float, ...], seconds: float) -> array.array[int]:
    """Mix several sines, with a fade at both ends that prevents clicks."""
    count = round(seconds * RATE)
    steps = [math.tau * pitch / RATE for pitch in pitches]
    samples = array.array("h", bytes(2 * count))
    fade = _FADE * RATE
    for number in range(count):
        envelope = min(1.0, number / fade, (count - number) / fade) * (1 - 0.6 * number / count)
        value = sum(loud * math.sin(step * number) for step, loud in zip(steps, loudness, strict=True))
        samples[number] = round(_LOUDEST * envelope * value)
    return samples


def _wav(tones: Iterator[array.array[int]], seconds: float) -> bytes:
    """Join tones up to the length in seconds, with a fade at the end that prevents a click."""
    count = round(seconds * RATE)
    samples = array.array("h")
    while len(samples) < count:
        samples.extend(next(tones))
    del samples[count:]
    fade = round(_FADE * RATE)
    for left in range(fade):
        samples[count - 1 - left] = round(samples[count - 1 - left] * left / fade)
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return target.getvalue()
