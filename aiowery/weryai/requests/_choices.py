"""Values that WeryAI documents. They help to write requests and are not enforced: the sets change."""

from __future__ import annotations

from typing import Final, Literal

AspectRatio = Literal[
    "1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "5:4", "4:5", "4:1", "1:4", "8:1", "1:8", "21:9", "9:21"
]
"""Documented aspect ratios. Models differ in the ratios that they accept, and some have values of their own ("2k",
"16:9(4k)"). Any string is therefore accepted, and the provider decides."""

ASPECT_RATIOS: Final[dict[str, str]] = {
    "1:1": "profile pictures, thumbnails, social media posts",
    "16:9": "widescreen, video thumbnails, presentations",
    "9:16": "vertical video, stories, phone wallpapers",
    "4:3": "traditional displays",
    "3:4": "portraits, posters",
    "3:2": "photographs, landscape",
    "2:3": "photographs, portrait",
    "5:4": "large-format prints",
    "4:5": "portraits in social media feeds",
    "4:1": "banners",
    "1:4": "tall banners",
    "8:1": "very wide strips",
    "1:8": "very tall strips",
    "21:9": "ultra-wide, cinematic",
    "9:21": "ultra-tall",
}
"""Uses of each aspect ratio."""

IMAGE_MODELS: Final = (
    "WERYAI_IMAGE_2_0",
    "WERYAI_IMAGE_1_0",
    "GEMINI_3_1_FLASH_IMAGE",
    "CHATBOT_GEMINI_3_PRO_IMAGE_PREVIEW",
    "GEMINI_2_5_FLASH",
    "GPT_IMAGE_2",
    "GPT_IMAGE_1_5",
    "SEEDREAM_5_0_LITE",
    "SEEDREAM_4_5",
    "SEEDREAM_4",
    "WAN_2_7",
    "WAN_2_7_PRO",
    "WAN_2_6",
    "WAN_2_5",
    "GROK_IMAGINE_IMAGE",
    "IMAGE4",
)
"""Model keys of the text-to-image page. The set changes: any string is accepted."""

VIDEO_MODELS: Final = (
    "WERYAI_VIDEO_1_0",
    "VEO_3_1",
    "VEO_3_1_FAST",
    "CHATBOT_VEO_3_1_FAST",
    "SORA_2",
    "SORA_2_PRO",
    "WERYDANCE_2_0",
    "WERYDANCE_2_0_FAST",
    "WERYDANCE_2_0_MINI",
    "WERYDANCE",
    "SEEDANCE_2_0",
    "SEEDANCE_2_0_OS",
    "SEEDANCE_2_0_FAST_OS",
    "SEEDANCE_2_0_MINI_OS",
    "DOUBAO_1_5_PRO",
    "DOUBAO_1_LITE",
    "KLING_V3_0_STA",
    "KLING_V3_0_PRO",
    "KLING_V2_6_PRO",
    "KLING_O1",
    "VIDU_Q3",
    "WAN_2_6",
    "PIKA_2_2",
    "PIXVERSE_V6",
    "HAILUO_2_3_STA",
    "HAILUO_2_3_PRO",
    "GROK_IMAGINE_VIDEO",
)
"""Model keys of the video pages; `client.models()` returns the endpoints of each."""

VOICES: Final[dict[int, str]] = {
    66: "Chinese, male: Pure-hearted Boy",
    67: "Chinese, male: Refreshing Young Man",
    68: "Chinese, male: Lyrical Voice",
    69: "Chinese, male: Reliable Executive",
    70: "Chinese, male: Stubborn Friend",
    71: "English, male: Man With Deep Voice",
    72: "English, male: Friendly Giant",
    73: "English, male: Angry Pirate",
    74: "English, male: Lucky Robot",
    75: "English, male: Southern Dude",
    76: "Chinese, female: News Anchor",
    77: "Chinese, female: Intellectual Girl",
    78: "Chinese, female: Gentle Senior",
    79: "Chinese, female: Kind-hearted Antie",
    80: "Chinese, female: Arrogant Miss",
    81: "English, female: Wise Lady",
    82: "English, female: Cheerful Chloe",
    83: "English, female: Lovely Girl",
    84: "English, female: Playful Girl",
    85: "English, female: Captivating Female",
}
"""Voices of `TextToAudio` by id."""

Resolution = Literal["360p", "480p", "540p", "580p", "720p", "1080p", "2k", "4k"]
Language = Literal["en", "zh", "ja", "ko", "fr", "de", "es"]
Style = Literal[
    "POP",
    "ROCK",
    "RAP",
    "ELECTRONIC",
    "RNB",
    "JAZZ",
    "FOLK",
    "CLASSIC",
    "WORLD",
    "HAPPY",
    "RELAXED",
    "WARM",
    "ROMANTIC",
    "TOUCHING",
    "SAD",
    "LONELY",
    "DEPRESSED",
    "TENSE",
    "EXCITED",
    "EPIC",
    "MYSTERIOUS",
    "PIANO",
    "GUITAR",
    "BASS",
    "DRUMS",
    "STRINGS",
    "WIND",
    "SYNTHESIZER",
    "ELECTRONIC_SOUND",
    "FOLK_INSTRUMENT",
    "MIXED_ORCHESTRATION",
]
"""Documented styles of `Music`: genres, emotions, instruments."""
BackgroundColor = Literal[
    "TRANSPARENT", "BLACK", "WHITE", "GRAY", "RED", "GREEN", "BLUE", "YELLOW", "CYAN", "MAGENTA", "ORANGE"
]
