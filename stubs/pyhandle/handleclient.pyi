from typing import Any

from pyhandle.clientcredentials import PIDClientCredentials

class PyHandleClient:
    def __init__(self, client: str) -> None: ...
    # Any: the REST client has methods that depend on the kind of client chosen above.
    def instantiate_with_username_and_password(
        self, handle_server_url: str, username: str, password: str, **config: str
    ) -> Any: ...
    def instantiate_with_credentials(
        self, credentials: PIDClientCredentials, **config: str
    ) -> Any: ...
    def instantiate_for_read_access(self, **config: str | bool) -> Any: ...
