"""Films and sounds of the sandbox are files that players open, of the promised size and length."""

from __future__ import annotations

import array
import io
import wave
from collections.abc import Callable
from itertools import pairwise

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from aiowery.sandbox._media.draw import draw
from aiowery.sandbox._media.film import FRAMES_A_SECOND, film
from aiowery.sandbox._media.sound import _NOTE, _PAUSE, _SYLLABLE, RATE, song, speech

PROMPT = "a lake below mountains at sunset"
LOUDEST_SAMPLE = 2**15 - 1
SOUNDS = pytest.mark.parametrize("make", [song, speech])

Sound = Callable[[str, float], bytes]


def frames(video: bytes) -> list[Image.Image]:
    """Decode every frame."""
    with av.open(io.BytesIO(video), "r") as container:
        return [frame.to_image() for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]


def samples(sound: bytes) -> array.array[int]:
    """Read every sample."""
    with wave.open(io.BytesIO(sound)) as file:
        return array.array("h", file.readframes(file.getnframes()))


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return how far two pictures are apart on average, 0 to 255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def test_a_film_is_h264_in_yuv420p() -> None:
    """Browsers play the codec and the pixel format."""
    with av.open(io.BytesIO(film(PROMPT, 0, 96, 64, 1)), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert len(container.streams) == 1


@pytest.mark.parametrize(("asked", "promised"), [(-1, 1), (0, 1), (1.5, 1.5), (3, 3), (8, 8), (99, 8)])
def test_a_film_lasts_as_long_as_asked_within_bounds(asked: float, promised: float) -> None:
    """Seconds are clamped to 1 to 8, and the frames fill them."""
    video = film(PROMPT, 0, 64, 64, asked)
    with av.open(io.BytesIO(video), "r") as container:
        assert container.duration == promised * 1_000_000
    assert len(frames(video)) == promised * FRAMES_A_SECOND


@pytest.mark.parametrize(
    ("asked", "promised"),
    [((128, 72), (128, 72)), ((127, 72), (128, 72)), ((64, 85), (64, 86)), ((33, 47), (34, 48)), ((1, 1), (2, 2))],
)
def test_a_film_has_even_dimensions(asked: tuple[int, int], promised: tuple[int, int]) -> None:
    """The codec wants even sides: odd ones grow by one pixel."""
    assert {frame.size for frame in frames(film(PROMPT, 0, *asked, 1))} == {promised}


def test_a_film_has_its_index_in_front() -> None:
    """A player may start before the whole file is there."""
    video = film(PROMPT, 0, 96, 64, 1)
    assert 0 < video.index(b"moov") < video.index(b"mdat")


def test_a_film_shows_the_picture_of_its_prompt() -> None:
    """The first frame is the picture, not some other."""
    first = frames(film(PROMPT, 1, 128, 128, 1))[0]
    near, far = (Image.open(io.BytesIO(draw(PROMPT, index, 128, 128))).convert("RGB") for index in (1, 2))
    assert difference(first, near) < 12
    assert difference(first, near) < difference(first, far) / 2


def test_a_film_moves() -> None:
    """The camera never rests, and ends somewhere else than it began."""
    seen = frames(film(PROMPT, 0, 128, 128, 2))
    assert all(difference(one, other) > 0 for one, other in pairwise(seen))
    assert difference(seen[0], seen[-1]) > 3


@pytest.mark.parametrize("prompt", [PROMPT, "cyberpunk city neon night rain", "snow forest pine fir"])
def test_a_film_is_small(prompt: str) -> None:
    """Four seconds at the sandbox's largest size stay below 400 KB, however many edges the picture has."""
    assert len(film(prompt, 0, 512, 512, 4)) < 400_000


def test_a_film_is_the_same_again() -> None:
    """The same arguments give the same bytes; another prompt or index gives others."""
    films = [film(prompt, index, 96, 64, 1) for prompt, index in ((PROMPT, 0), (PROMPT, 0), (PROMPT, 1), ("", 0))]
    assert films[0] == films[1]
    assert len(set(films)) == 3


@SOUNDS
def test_a_sound_is_mono_of_16_bits(make: Sound) -> None:
    """The header says what the samples are."""
    with wave.open(io.BytesIO(make(PROMPT, 1))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)


@SOUNDS
@pytest.mark.parametrize(("asked", "promised"), [(-1, 1), (0, 1), (1.234, 1.234), (5, 5), (12, 12), (99, 12)])
def test_a_sound_lasts_as_long_as_asked_within_bounds(make: Sound, asked: float, promised: float) -> None:
    """Seconds are clamped to 1 to 12, and the samples fill them."""
    assert len(samples(make(PROMPT, asked))) == round(promised * RATE)


@SOUNDS
@pytest.mark.parametrize("text", [PROMPT, "", "   ", "hm", "湖と山", "\ud800", "word " * 200])
def test_a_sound_is_heard_and_not_distorted(make: Sound, text: str) -> None:
    """Any text sounds in every half second, below the loudest sample."""
    heard = samples(make(text, 3))
    assert max(map(abs, heard)) < LOUDEST_SAMPLE
    halves = [heard[start : start + RATE // 2] for start in range(0, len(heard), RATE // 2)]
    assert all(max(map(abs, half)) > 5_000 for half in halves)


@SOUNDS
@pytest.mark.parametrize("seconds", [1, 1.1, 2.05])
def test_a_sound_does_not_click_where_it_is_cut(make: Sound, seconds: float) -> None:
    """It begins and ends in silence, also in the middle of a tone."""
    heard = samples(make(PROMPT, seconds))
    assert (heard[0], heard[-1]) == (0, 0)
    assert max(map(abs, heard[-20:])) < 2_000


@pytest.mark.parametrize(("make", "text", "lasts"), [(song, PROMPT, _NOTE), (speech, "a" + "ba" * 30, _SYLLABLE)])
def test_a_tone_does_not_click_where_the_next_begins(make: Sound, text: str, lasts: float) -> None:
    """Every note and every syllable fades out by itself, not only the last."""
    heard, tone = samples(make(text, 3)), round(lasts * RATE)
    assert all(max(map(abs, heard[end - 20 : end + 20])) < 2_000 for end in range(tone, len(heard) - 20, tone))


@SOUNDS
def test_a_sound_is_the_same_again(make: Sound) -> None:
    """The same arguments give the same bytes; another text gives others."""
    assert make(PROMPT, 2) == make(PROMPT, 2)
    assert make(PROMPT, 2) != make("hills", 2)


def test_a_song_is_no_speech() -> None:
    """What was asked for can be told by ear."""
    assert song(PROMPT, 1) != speech(PROMPT, 1)


@pytest.mark.parametrize(("text", "syllables"), [("la", 1), ("la la la", 1), ("banana", 3), ("hm", 1), ("sea", 1)])
def test_a_voice_pauses_after_each_word(text: str, syllables: int) -> None:
    """The syllables of a word follow each other without a gap; words stand apart."""
    tone, pause = round(_SYLLABLE * RATE), round(_PAUSE * RATE)
    heard = samples(speech(text, 3))
    word = syllables * tone
    assert all(any(heard[start : start + 200]) for start in range(0, word - 200, 200))
    assert not any(heard[word : word + pause])
    assert any(heard[word + pause : word + pause + tone])
