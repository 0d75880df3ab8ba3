"""Keys for new blobs."""

import secrets


def fresh_key(*, public: bool = False) -> str:
    """A key that nobody can guess and that no other blob has, ever. ``public``: anybody may read it."""
    token = secrets.token_hex(16)
    return f"{'public' if public else 'private'}/{token[:2]}/{token[2:]}"
