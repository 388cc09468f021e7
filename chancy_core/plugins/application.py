"""The plugins of one application, and what they do where jobs are pushed."""

from collections.abc import Mapping, Sequence
from typing import Any

from chancy_core import codec, versions
from chancy_core.beside import Beside
from chancy_core.hooks import Plugin, answered
from chancy_core.host import Application
from chancy_core.job import Job, Reference


class Plugins(Beside):
    """The plugins of one application."""

    def __init__(self, app: Application) -> None:
        super().__init__()
        self._app = app
        #: What is installed and could not be used, by the name of its entry point, and why.
        self.broken: dict[str, str] = {}

    def register(self, plugin: Plugin) -> None:
        """Add a plugin, and let it set the application up. Raises `InvalidPlugin`."""
        super().register(plugin)
        for one in self.implemented("chancy_configure"):
            if one.plugin is plugin:
                with plugin.blamed("chancy_configure"):
                    one.call({"app": self._app})

    def with_meta(self, jobs: list[Job]) -> list[Job]:
        """Return jobs that are about to be stored, with what plugins add to their meta."""
        if not any(one.plugin.awake for one in self.implemented("chancy_job_meta")):
            return jobs
        more = map(self._meta, jobs)
        return [
            job.with_meta({**added, **job.meta}) if added else job
            for job, added in zip(jobs, more, strict=True)
        ]

    def _meta(self, job: Job) -> dict[str, Any]:
        hook = "chancy_job_meta"
        added: dict[str, Any] = {}
        for plugin, answer in self.each(hook, job=job):
            if not isinstance(answer, Mapping):
                plugin.blame(hook, answered(answer, "a mapping"))
                continue
            with plugin.blamed(hook):
                codec.encode(answer, "what it adds to the meta")
                added = {**answer, **added}
        added.pop(versions.VERSION, None)  # as in the meta of another job, which somebody passes on
        return added

    def pushed(self, references: Sequence[Reference], jobs: Sequence[Job]) -> None:
        """Tell of jobs that have been stored."""
        for one in self.implemented("chancy_jobs_pushed"):
            with one.plugin.blamed("chancy_jobs_pushed"):
                one.call({"references": references, "jobs": jobs})
