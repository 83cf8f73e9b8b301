#!/usr/bin/env python3
"""A token server as docker-registry knows them, for tests: token_server.py PORT DIRECTORY USER PASSWORD

DIRECTORY holds token.key and token.crt (PEM), as openssl makes them. Whoever
knows the password gets what he asks for; anybody else may not even pull.
Tokens live for 60 s. Each request is a line on standard output.
"""
import base64
import json
import subprocess
import sys
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, directory, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
key = f"{directory}/token.key"
certificate = "".join(
    line.strip() for line in open(f"{directory}/token.crt") if "CERTIFICATE" not in line
)


def part(data):
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(service, scopes):
    now = int(time.time())
    access = []
    for scope in " ".join(scopes).split():
        kind, name, actions = scope.rsplit(":", 2) if scope.count(":") >= 2 else (scope, "", "")
        kind, name = (kind, name) if ":" not in kind else kind.split(":", 1)
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
    claims = {
        "iss": "tests", "sub": user, "aud": service, "exp": now + 60, "nbf": now - 10,
        "iat": now, "jti": str(time.time_ns()), "access": access,
    }
    text = part(header) + b"." + part(claims)
    signature = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", key], input=text, capture_output=True, check=True
    ).stdout
    return (text + b"." + part(signature)).decode()


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        expect = base64.b64encode(f"{user}:{password}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {expect}":
            return self.answer(401, {"details": "incorrect username or password"})
        text = token(query.get("service", [""])[0], query.get("scope", []))
        return self.answer(200, {"token": text, "expires_in": 60})

    def log_message(self, text, *arguments):
        print(text % arguments, flush=True)


ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
