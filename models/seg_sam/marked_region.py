"""Parts of Markdown files that commands write, between two comments."""

from pathlib import Path


def replace_region(path: Path, begin: str, end: str, text: str) -> None:
    """Replaces what stands between two marks of a file. ValueError where one is missing."""
    before, _, after = _split(path, begin, end)
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")


def read_region(path: Path, begin: str, end: str) -> str:
    """What stands between two marks of a file, as `replace_region` wrote it."""
    return _split(path, begin, end)[1].removeprefix("\n\n").removesuffix("\n")


def _split(path: Path, begin: str, end: str) -> tuple[str, str, str]:
    text = path.read_text()
    if begin not in text or end not in text:
        raise ValueError(f"{path} lacks the lines {begin!r} and {end!r}, between which the tables go")
    before, rest = text.split(begin)
    region, after = rest.split(end)
    return before, region, after
