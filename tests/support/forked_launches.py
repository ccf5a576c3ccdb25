"""Launches whose commands are forked from a process that has imported nmlab."""

from dataclasses import dataclass

from forked_commands import ForkedCommands

from nmlab.platform.testing.real_launches.launched import Nmlab


@dataclass
class ForkedNmlab(Nmlab):
    """A folder in which commands run; see `forked_commands`."""

    commands: ForkedCommands

    def _process(self, arguments, *, stdout, stderr, env):
        return self.commands.start(*arguments, cwd=self.folder, stdout=stdout, stderr=stderr, env=env)
