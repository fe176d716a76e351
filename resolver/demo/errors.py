"""What ends a demo before its time."""


class DemoError(Exception):
    """The demo cannot go on: `what` happened, and `hint`, what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
