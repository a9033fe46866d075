"""A worker process's line to the process that started it (`workers`)."""

import json
import os
from typing import Any


class Channel:
    """Events to the parent, one line each, each answered by a line."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(0), "r")
        self._events = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # a library's prints must not end up among the events
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def task(self) -> dict[str, Any]:
        """The line that says what to do."""
        task: dict[str, Any] = json.loads(self._answers.readline())
        return task

    def tell(self, event: str, **data: Any) -> None:
        """Send an event and wait until the parent has dealt with it. Ends the process where the parent is gone."""
        self.announce(event, **data)
        if not self._answers.readline():
            os._exit(1)

    def announce(self, event: str, **data: Any) -> None:
        """Send an event that needs no answer."""
        self._events.write(json.dumps({"event": event, **data}) + "\n")
        self._events.flush()
