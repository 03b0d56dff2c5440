"""Words in any script, and tokenisation of texts."""

import re
import unicodedata
from collections.abc import Callable

# Combining marks, which belong to the letter before them (the vowel signs of Hindi, the points of
# Hebrew, accents that no letter has built in), the letters between them, and the two invisible
# joiners. Emoji's variation selectors and enclosing marks are left out.
_MARKS = (
    "200C-200D 300-36F 483-487 591-5BD 5BF-5BF 5C1-5C2 5C4-5C5 5C7-5C7 610-61A 64B-65F 670-670 "
    "6D6-6DC 6DF-6E8 6EA-6ED 711-7B0 7EB-7F3 7FD-7FD 816-82D 859-85B 898-8E1 8E3-963 981-9E3 "
    "9FE-A51 A70-A75 A81-AE3 AFA-B63 B82-BD7 C00-C63 C81-C83 CBC-CE3 D00-D4D D57-D57 D62-D63 "
    "D81-DDF DF2-DF3 E31-E3A E47-E4E EB1-ECD F18-F19 F35-F35 F37-F37 F39-F39 F3E-F84 F86-FBC "
    "FC6-FC6 102B-103E 1056-108F 109A-109D 135D-135F 1712-1734 1752-17D3 17DD-17DD 180B-180D "
    "180F-180F 1885-193B 1A17-1A1B 1A55-1A7F 1AB0-1ABD 1ABF-1B44 1B6B-1B73 1B80-1BAD 1BE6-1BF3 "
    "1C24-1C37 1CD0-1CD2 1CD4-1DFF 20D0-20DC 20E1-20E1 20E5-20F0 2CEF-2CF1 2D7F-2DFF 302A-302F "
    "3099-309A A66F-A66F A674-A67D A69E-A69F A6F0-A6F1 A802-A827 A82C-A82C A880-A8C5 A8E0-A8F1 "
    "A8FF-A8FF A926-A92D A947-A953 A980-A9C0 A9E5-A9E5 AA29-AA4D AA7B-AAC1 AAEB-AAEF AAF5-AAF6 "
    "ABE3-ABEA ABEC-ABED FB1E-FB1E FE20-FE2F 101FD-102E0 10376-1037A 10A01-10A3F 10AE5-10AE6 "
    "10D24-10D27 10EAB-10EAC 10F46-10F50 10F82-10F85 11000-11046 11070-110BA 110C2-110C2 "
    "11100-11134 11145-11173 11180-111C0 111C9-111CC 111CE-111CF 1122C-11237 1123E-1123E "
    "112DF-112EA 11300-11446 1145E-114C3 115AF-115C0 115DC-11640 116AB-116B7 1171D-1172B "
    "1182C-1183A 11930-11943 119D1-119E0 119E4-11A3E 11A47-11A99 11C2F-11C3F 11C92-11D47 "
    "11D8A-11D97 11EF3-11EF6 16AF0-16AF4 16B30-16B36 16F4F-16F92 16FE4-16FF1 1BC9D-1BC9E "
    "1CF00-1CF46 1D165-1D169 1D16D-1D172 1D17B-1D182 1D185-1D18B 1D1AA-1D1AD 1D242-1D244 "
    "1DA00-1DA36 1DA3B-1DA6C 1DA75-1DA75 1DA84-1DA84 1DA9B-1DAAF 1E000-1E136 1E2AE-1E2EF "
    "1E8D0-1E8D6 1E944-1E94A E0100-E01EF"
)
# Scripts in which a letter is a syllable or a word: those of India and South-East Asia, Ethiopia,
# Korea, Japan and China, and other syllabaries.
_SYLLABLES = (
    "900-109F 1100-169F 1700-17FF 18B0-1C4F 3005-3007 3021-3029 3040-318F 31A0-31FF 3400-4DBF "
    "4E00-A4CF A800-A82F A840-A8FF A900-AAFF ABC0-D7FF F900-FAFF FF66-FFDC 11000-11FFF "
    "16800-16A3F 16F00-18DFF 1AFF0-1B2FF 20000-3FFFF"
)
# Scripts that leave out most vowels, in which two letters may be a word.
_CONSONANTS = "5D0-5F2 620-65F 66E-6D5 6EE-6FF 710-77F 7B1-7B1 800-8FF FB1D-FDFF FE70-FEFC"


def _ranges(text: str) -> str:
    """Return the inside of a character class."""
    pairs = (pair.split("-") for pair in text.split())
    return "".join(f"{chr(int(a, 16))}-{chr(int(b, 16))}" for a, b in pairs)


_LETTER = r"[^\W\d_]"
_MARK = f"[{_ranges(_MARKS)}]"
_SYLLABLE = f"[{_ranges(_SYLLABLES)}]"
_CONSONANT = f"[{_ranges(_CONSONANTS)}]"

# Three letters or more, with their marks; of syllables one, of consonants two. Digits and
# underscores are no letters, and a word does not touch them. Each run of letters is looked at a
# fixed number of times, however long it is.
WORDS = (
    rf"\b{_LETTER}(?<!\w{_MARK}.)(?<!{_MARK}{_MARK}.)(?:{_LETTER}{{2}}|"
    rf"{_MARK}*+{_LETTER}{_MARK}*+{_LETTER}|(?<={_SYLLABLE})|{_LETTER}?(?={_LETTER}){_SYLLABLE}|"
    rf"(?<={_CONSONANT}){_MARK}*+(?={_LETTER}){_CONSONANT})"
    rf"{_LETTER}*+(?:{_MARK}++{_LETTER}*+)*+(?!\w)"
)


_ASCII_WORDS = r"\b[^\W\d_]{3,}+\b"  # faster than WORDS, for ASCII

FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def normal(text: str, form: str | None) -> str:
    """Return a text in a Unicode normal form."""
    return text if form is None or text.isascii() else unicodedata.normalize(form, text)  # type: ignore[arg-type]


def cutter(pattern: str, lowercase: bool, form: str | None) -> Callable[[str], list[str]]:
    """Return the function that splits a text into words."""
    find = re.compile(pattern).findall
    find_ascii = re.compile(_ASCII_WORDS).findall if pattern == WORDS else find

    def cut(text: str) -> list[str]:
        text = normal(text, form)
        text = text.lower() if lowercase else text
        return find_ascii(text) if text.isascii() else find(text)

    return cut
