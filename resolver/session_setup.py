"""Beginning and ending sessions by message: SESSION_SETUP, SESSION_TERMINATE."""

from collections.abc import Callable

from protocol.bodies import Empty, SessionSetupRequest
from protocol.codes import ResponseCode
from protocol.message import Message
from protocol.value import Reference
from protocol.versions import answer_version
from registry.outcomes import Refusal
from resolver.asked import Asked, AskedReplies, Conversations
from resolver.challenges import new_number
from resolver.operations import Operations
from resolver.sessions import SessionError, agree_on_key


class SessionSetup:
    """Begins and ends the sessions of a node.

    Args:
        operations: finds keys that live in handles, and runs what takes long in threads.
        conversations: the sessions.
        replies: makes the replies.
        clock_s: a clock that never goes back.
    """

    def __init__(
        self,
        operations: Operations,
        conversations: Conversations,
        replies: AskedReplies,
        clock_s: Callable[[], float],
    ) -> None:
        self._operations = operations
        self._conversations = conversations
        self._replies = replies
        self._clock_s = clock_s

    async def set_up(self, asked: Asked) -> Message:
        """Answer a SESSION_SETUP; the session's id stands in the answer's envelope."""
        body = asked.body
        assert isinstance(body, SessionSetupRequest)
        key_data = await self._key_for(body)
        if isinstance(key_data, Refusal):
            return self._replies.refusal(asked, key_data)
        version = answer_version(asked.request.envelope.best_version)
        key, answer = await self._operations.in_thread(agree_on_key, body, version, key_data)
        number = new_number(self._conversations.is_taken)
        sessions = self._conversations.sessions
        if sessions.add(number, key, body, asked.address, self._clock_s()) is None:
            words = b"too many sessions are open, try again later"
            return self._replies.refuse(asked, ResponseCode.SERVER_TOO_BUSY, words)
        return self._replies.replies.reply(
            asked.request, ResponseCode.SUCCESS, answer, session_id=number
        )

    async def end(self, asked: Asked) -> Message:
        """Answer a SESSION_TERMINATE, whose MAC was checked."""
        if asked.session is None:
            raise SessionError(ResponseCode.SESSION_TIMEOUT, "there is no session to end")
        self._conversations.sessions.drop(asked.session.number)
        return self._replies.reply(asked, ResponseCode.SUCCESS, Empty())

    async def refuse_key(self, asked: Asked) -> Message:
        """Answer a SESSION_EXCHANGE_KEY.

        # Deviation: mode 2, in which it is sent, is not there: Handle.Net's client leaves out the
        cipher id its server expects, so nobody can use it.
        """
        if asked.session is None:
            raise SessionError(ResponseCode.SESSION_TIMEOUT, "there is no session to give a key to")
        raise SessionError(
            ResponseCode.SESSION_FAILED, "the session waits for no key: mode 2 is not supported"
        )

    async def _key_for(self, body: SessionSetupRequest) -> bytes | Refusal:
        if body.public_key:
            return body.public_key
        if body.key_handle:
            key = Reference(body.key_handle, body.key_index)
            found = await self._operations.find_public_key(key)
            if isinstance(found, Refusal):
                # A code below 500 would be taken for that of a request in the session.
                return Refusal(ResponseCode.SESSION_FAILED, found.message)
            return found
        raise SessionError(
            ResponseCode.INVALID_SESSION_SETUP_REQUEST,
            f"session mode {body.mode} is not supported: use 4 (Diffie-Hellman), 1 or 3",
        )
