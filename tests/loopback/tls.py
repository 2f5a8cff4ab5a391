"""A proxy that plays a few hosts itself: CONNECT, then TLS with a certificate of its own authority."""

import ipaddress
import socket
import ssl
import tempfile
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority for a day, and one certificate for the hosts that are played."""

    def __init__(self, hosts: list[str], folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.mkdtemp(prefix="loopback-"))
        self.ca = self._folder / "ca.pem"
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("Loopback authority")
        root = _certificate(name, name, key.public_key(), key, x509.BasicConstraints(ca=True, path_length=0), [])
        self.ca.write_bytes(_pem(root))
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        leaf = _certificate(
            _name(hosts[0]), name, leaf_key.public_key(), key, x509.BasicConstraints(ca=False, path_length=None), hosts
        )
        chain = self._folder / "leaf.pem"
        chain.write_bytes(
            leaf_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + _pem(leaf)
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain)
        self.context.set_alpn_protocols(["http/1.1"])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(subject, issuer, public_key, signing_key, constraints, hosts) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(constraints, critical=True)
    )
    if hosts:
        names = [x509.DNSName(host) for host in hosts]
        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
    return builder.sign(signing_key, hashes.SHA256())


class Proxy(ThreadingHTTPServer):
    """Answers CONNECT for its own hosts, opens TLS, and hands each request inside to `play`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, hosts: list[str], port: int = 0, folder: Path | None = None) -> None:
        self.authority, self.hosts = Authority(hosts, folder), set(hosts)
        super().__init__(("127.0.0.1", port), Tunnel)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def ca(self) -> Path:
        return self.authority.ca

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what these servers are for."""

    def play(self, inside: "Inside") -> None:
        raise NotImplementedError

    def control(self, tunnel: "Tunnel") -> None:
        """A plain request to the proxy itself."""
        tunnel.send_error(404)


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass


class Tunnel(Quiet):
    server: Proxy

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        if host not in self.server.hosts:
            self.send_error(403, "not a host of this loopback")
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        with suppress(OSError, ssl.SSLError):
            secure = self.server.authority.context.wrap_socket(self.connection, server_side=True)
            with suppress(OSError), secure:
                Inside(secure, self.client_address, self.server, host)

    def do_GET(self) -> None:
        self.server.control(self)

    do_POST = do_DELETE = do_GET  # noqa: N815


class Inside(Quiet):
    """The requests inside one tunnel."""

    def __init__(self, secure: socket.socket, client: object, server: Proxy, host: str) -> None:
        self.host = host
        super().__init__(secure, client, server)

    def do_GET(self) -> None:
        self.server.play(self)

    do_POST = do_GET  # noqa: N815

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        """Send an answer; `cut` hangs up in the middle of its body."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.wfile.flush()
        if cut:
            self.close_connection = True

    def hang_up(self) -> None:
        """Reset the connection, as a broken middlebox does."""
        self.close_connection = True
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
