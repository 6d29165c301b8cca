"""What the documentation shows is true: commands exist, configurations are accepted, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from documents import PAGES, PROJECT, Block, anchors_of, blocks_of, links_of

import trainctl.command_line
import trainerd.main
from trainerd.config import compose
from trainerd.contracts.settings import read_settings

PROGRAMS = {"trainctl": trainctl.command_line.cli, "trainerd": trainerd.main.cli}
COMMANDS = [(block, line) for block in blocks_of("sh") for line in block.text.splitlines()]


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=str)
def test_every_command_shown_exists_with_these_options(
    block: Block, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is parsed by the real program; quickstart.md's are also run, in test_quickstart.py."""
    monkeypatch.chdir(PROJECT)
    program, *words = shlex.split(line)

    if program == "make":
        assert set(words) <= make_targets(), block
    else:
        parse(PROGRAMS[program], program, words)


def parse(command: click.Command, name: str, words: list[str], parent: click.Context | None = None) -> None:
    """Parse `words` as `command` would, without running it. Raises click.UsageError where they are wrong."""
    context = command.make_context(name, list(words), parent=parent)
    if isinstance(command, click.Group) and context._protected_args:
        rest = [*context._protected_args, *context.args]
        found_name, found, arguments = command.resolve_command(context, rest)
        assert found is not None
        parse(found, found_name or "", arguments, context)


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("block", blocks_of("yaml"), ids=str)
def test_every_configuration_shown_is_accepted(block: Block, tmp_path: Path) -> None:
    """As a file beside the worked examples, with the data that it names."""
    for example in (PROJECT / "configs").glob("*.yaml"):
        shutil.copy(example, tmp_path)
    for path in re.findall(r"path: (\S+)", block.text):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    shown = tmp_path / "shown.yaml"
    shown.write_text(block.text)

    assert compose(shown).spec.name


@pytest.mark.parametrize("block", blocks_of("toml"), ids=str)
def test_every_setting_shown_is_accepted(block: Block, tmp_path: Path) -> None:
    (tmp_path / "trainerd.toml").write_text(block.text)

    read_settings(tmp_path / "trainerd.toml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links_of(page):
        target, _, anchor = link.partition("#")
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(link)

    assert not broken
