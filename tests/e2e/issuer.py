# SPDX-License-Identifier: Apache-2.0
"""An OpenID issuer for tests: keys of every kind, a server for its configuration and its key set, and tokens, good and
forged. The server can be slow, broken, or gone and back on the same port."""
import base64
import hashlib
import hmac
import http.server
import json
import threading
import time

import pytest

pytest.importorskip("cryptography", reason="cryptography is not here: tests/install.sh test")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils  # noqa: E402

SHA256 = hashes.SHA256()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, width=None):
    return base64url(value.to_bytes(width or (value.bit_length() + 7) // 8, "big"))


class Key:
    def __init__(self, kid, algorithm="ES256"):
        self.kid, self.algorithm = kid, algorithm
        if algorithm in ("RS256", "PS256"):
            self.private = rsa.generate_private_key(65537, 2048)
        elif algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()

    def jwk(self):
        public = self.private.public_key()
        if self.algorithm in ("RS256", "PS256"):
            n = public.public_numbers()
            members = {"kty": "RSA", "n": number(n.n), "e": number(n.e)}
        elif self.algorithm == "ES256":
            n = public.public_numbers()
            members = {"kty": "EC", "crv": "P-256", "x": number(n.x, 32), "y": number(n.y, 32)}
        else:
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            members = {"kty": "OKP", "crv": "Ed25519", "x": base64url(raw)}
        return {"kid": self.kid, "use": "sig", "alg": self.algorithm, **members}

    def pem(self):
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def sign(self, text):
        if self.algorithm == "RS256":
            return self.private.sign(text, padding.PKCS1v15(), SHA256)
        if self.algorithm == "PS256":
            return self.private.sign(text, padding.PSS(padding.MGF1(SHA256), 32), SHA256)
        if self.algorithm == "ES256":
            r, s = utils.decode_dss_signature(self.private.sign(text, ec.ECDSA(SHA256)))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(text)


def encode(header, claims, sign):
    text = (base64url(json.dumps(header).encode()) + "." + base64url(json.dumps(claims).encode())).encode()
    return text.decode() + "." + base64url(sign(text))


def hs256(secret):
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


class Issuer:
    def __init__(self, *keys):
        self.keys = list(keys) or [Key("one")]
        self.fetches = 0      # of the key set
        self.status = 200
        self.gate = threading.Event()  # while it is not set, whoever asks for the key set waits
        self.gate.set()
        self.server = None
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/.well-known/openid-configuration":
                    body = {"issuer": issuer.url, "jwks_uri": issuer.url + "/keys"}
                else:
                    issuer.fetches += 1
                    issuer.gate.wait(60)
                    body = {"keys": [k.jwk() for k in issuer.keys]}
                data = json.dumps(body).encode()
                try:
                    self.send_response(issuer.status)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def claims(self, **more):
        now = int(time.time())
        claims = {"iss": self.url, "aud": "sluice", "sub": "ann", "org": "acme", "iat": now, "exp": now + 600, **more}
        return {k: v for k, v in claims.items() if v is not None}

    def token(self, key=None, header=None, sign=None, **claims):
        key = key or self.keys[0]
        head = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT", **(header or {})}
        return encode({k: v for k, v in head.items() if v is not None}, self.claims(**claims), sign or key.sign)
