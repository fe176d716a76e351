"""What is wrong with an input of rows as a whole; one broken row is never an exception."""


class RowsError(Exception):
    """An input that cannot be read: `what` is wrong with it, and `hint`, what to do next."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
