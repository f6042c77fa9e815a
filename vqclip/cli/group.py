"""The prompt comes first: `vqclip "a castle"` is `vqclip generate "a castle"`, for parsing, completion and help."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from typer.core import TyperGroup

from vqclip.cli import say
from vqclip.cli.aliases import rewrite
from vqclip.cli.panels import write_panels
from vqclip.errors import UsageError

DEFAULT = "generate"
PAINTING = (DEFAULT, "again", "batch", "zoom", "film", "restyle")


class PromptFirstGroup(TyperGroup):
    """A group whose default command is `generate`; a first word that is a command is that command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts `generate` before arguments that name no command, and turns old spellings into ours."""
        if args and args[0] not in self.commands and args[0].split("=", 1)[0] not in self._own_options(ctx):
            if not ctx.resilient_parsing:
                self._note_near_miss(args)
            args = [DEFAULT, *args]
        if args and args[0] in PAINTING:
            args = self._renamed(ctx, args[0], args[1:])
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Completes commands, and the options of `generate` behind a dash."""
        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            command = self.commands[DEFAULT]
            with command.make_context(DEFAULT, [], parent=ctx, resilient_parsing=True) as sub:
                seen = {item.value for item in found}
                found += [item for item in command.shell_complete(sub, incomplete) if item.value not in seen]
        return found

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line: the prompt first."""
        return ['"PROMPT" [OPTIONS]  |  COMMAND [OPTIONS]']

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The help of the whole program: commands, and the options of `generate` before its own."""
        self.format_commands(ctx, formatter)
        write_panels([*self.commands[DEFAULT].params, *self.get_params(ctx)], ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples and exit codes, as they are written."""
        formatter.write(f"\n{self.epilog}")

    def _own_options(self, ctx: Any) -> set[str]:
        return {option for param in self.get_params(ctx) for option in (*param.opts, *param.secondary_opts)}

    def _renamed(self, ctx: Any, command: str, args: list[str]) -> list[str]:
        """A command and its arguments without old spellings, which may make another command of it."""
        params = [param for name in PAINTING for param in self.commands[name].params]
        options = [param for param in params if not getattr(param, "is_flag", True)]
        take_values = frozenset(name for param in options for name in param.opts)
        try:
            done = rewrite(args, take_values=take_values)
        except UsageError:
            if ctx.resilient_parsing:
                return [command, *args]
            raise
        for text in () if ctx.resilient_parsing else done.notes:
            say.note(text)
        return [done.command or command, *done.args]

    def _note_near_miss(self, args: list[str]) -> None:
        near = near_command(args[0], list(self.commands))
        if near and all(arg.startswith("-") for arg in args[1:2]):
            say.note(f'painting "{args[0]}"; for the command, write: vqclip {near}')


def near_command(word: str, commands: list[str]) -> str | None:
    """The command that a word was probably meant to be, or None."""
    if " " in word or word.startswith("-"):
        return None
    return next(iter(get_close_matches(word.casefold(), commands, n=1, cutoff=0.75)), None)
