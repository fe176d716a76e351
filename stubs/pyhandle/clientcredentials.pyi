class PIDClientCredentials:
    @staticmethod
    def load_from_JSON(json_filename: str) -> PIDClientCredentials: ...  # noqa: N802
