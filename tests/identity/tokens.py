"""Google's identity tokens, made by a key of our own that stands in for Google's."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt
from google.auth.exceptions import TransportError

AUDIENCE = "https://ingest.example.run.app"
PUSHER = "pusher@project.iam.gserviceaccount.com"


class Issuer:
    """Signs tokens, and answers those who ask for its keys."""

    def __init__(self, key_id: str = "key-1") -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.certificates = {key_id: certificate.public_bytes(serialization.Encoding.PEM).decode()}
        self.asked = 0
        self.down = False
        self.answer: bytes | None = None
        self._signer = crypt.RSASigner.from_string(pem, key_id)

    def token(self, **changed: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "email": PUSHER,
            "email_verified": True,
            "sub": "1",
            "iat": now,
            "exp": now + 3600,
        }
        token: bytes = jwt.encode(self._signer, {**claims, **changed})
        return token.decode()

    def __call__(self, url: str, method: str = "GET", **_how: Any) -> Any:
        """What ``google.auth.transport.Request`` does: answers with the certificates."""
        assert method == "GET"
        assert url.startswith("https://www.googleapis.com/")
        self.asked += 1
        if self.down:
            raise TransportError("no route")
        return _Response(json.dumps(self.certificates).encode() if self.answer is None else self.answer)


class _Response:
    status = 200

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.headers = {"content-type": "application/json"}
