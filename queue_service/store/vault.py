"""Access tokens at rest: encrypted, each for its client alone.

Hawk needs the token itself to check a signature, so that a hash of it will not do.
"""

import base64
import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from queue_service.core.access import SealedToken

NONCE_BYTES: Final = 12


class WrongKey(Exception):
    """The token was encrypted with another key, or for another client."""


class Vault:
    """Encrypts and decrypts access tokens with a key that is derived from ``secret``."""

    def __init__(self, secret: bytes, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self._cipher = AESGCM(_derived(secret, b"taskbus access tokens", 32))
        self._random = random
        self.key_id = base64.urlsafe_b64encode(_derived(secret, b"taskbus key id", 9)).decode()
        """Tells one key from another, and nothing about either."""

    def seal(self, client_id: str, token: str) -> SealedToken:
        """The token, encrypted for this client."""
        nonce = self._random(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, token.encode(), client_id.encode())
        return SealedToken(base64.b64encode(sealed).decode(), self.key_id)

    def open(self, client_id: str, token: SealedToken) -> str:
        """The token itself. Raises WrongKey."""
        try:
            sealed = base64.b64decode(token.text, validate=True)
            nonce, text = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
            return self._cipher.decrypt(nonce, text, client_id.encode()).decode()
        except (InvalidTag, ValueError):
            raise WrongKey(f"the access token of {client_id} was encrypted with another key") from None


def _derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose).derive(secret)
