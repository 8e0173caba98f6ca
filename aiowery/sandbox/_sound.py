"""Songs and voices as sound: a melody from a text's letters, syllables from its words."""

from __future__ import annotations

import array
import hashlib
import io
import math
import random
import wave

RATE = 22_050
"""Samples a second; one channel, 16 bits."""
_SHORTEST = 1.0
_LONGEST = 12.0
_LOUDEST = 20_000
_NOTE = 0.28
_SYLLABLE = 0.16
# A minor pentatonic scale sounds well in any order.
_SCALE = (0, 3, 5, 7, 10, 12, 15, 17)
_BASE = 220.0
_FADE = 0.012


def song(text: str, seconds: float) -> bytes:
    """Return a melody as WAV, 1 to 12 seconds, the same for the same arguments. Blocks."""
    chance = _chance(text)
    length = _length(seconds)
    notes = [_BASE * 2 ** (chance.choice(_SCALE) / 12) for _ in range(math.ceil(length / _NOTE))]
    return _wav([_tone((note, note * 2, note / 2), (0.6, 0.2, 0.2), _NOTE) for note in notes], length)


def speech(text: str, seconds: float) -> bytes:
    """Return something like a voice as WAV, 1 to 12 seconds, the same for the same arguments. Blocks."""
    chance = _chance(text)
    length = _length(seconds)
    tones = []
    for _ in range(math.ceil(length / _SYLLABLE)):
        pitch = 120 * chance.uniform(0.85, 1.3)
        formants = (pitch, chance.choice((3, 4, 5, 6)) * pitch, chance.choice((8, 10, 13)) * pitch)
        loudness = (0.5, 0.3, 0.15) if chance.random() > 0.15 else (0.0, 0.0, 0.0)  # noqa: PLR2004 - a pause now and then
        tones.append(_tone(formants, loudness, _SYLLABLE))
    return _wav(tones, length)


def _chance(text: str) -> random.Random:
    return random.Random(hashlib.sha256(text.encode("utf-8", "replace")).digest())  # noqa: S311 - repeatable on purpose


def _length(seconds: float) -> float:
    return min(_LONGEST, max(_SHORTEST, seconds))


def _tone(pitches: tuple[float, ...], loudness: tuple[float, ...], seconds: float) -> array.array[int]:
    """Mix a few sines, faded in and out so that nothing clicks."""
    count = round(seconds * RATE)
    steps = [math.tau * pitch / RATE for pitch in pitches]
    samples = array.array("h", bytes(2 * count))
    fade = _FADE * RATE
    for number in range(count):
        envelope = min(1.0, number / fade, (count - number) / fade) * (1 - 0.6 * number / count)
        value = sum(loud * math.sin(step * number) for step, loud in zip(steps, loudness, strict=True))
        samples[number] = round(_LOUDEST * envelope * value)
    return samples


def _wav(tones: list[array.array[int]], seconds: float) -> bytes:
    samples = array.array("h")
    for tone in tones:
        samples.extend(tone)
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples[: round(seconds * RATE)].tobytes())
    return target.getvalue()
