"""A real SMTP server for tests: aiosmtpd, with faults by recipient, and mails read by Python's own parser.

Prints its port, then appends a JSON line to the mailbox for every mail it has taken. Ends with its standard input.
The part of an address before @ says what happens: refused, busy (451), closed (cut before the answer, nothing kept),
lost (kept, cut before the answer), slow (two seconds), hangs (15 seconds, nothing kept), once (451 the first time).
"""
import argparse, asyncio, email, email.policy, json, os, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

args = argparse.ArgumentParser()
args.add_argument("mailbox")
args.add_argument("--tls", choices=["none", "starttls", "wrapped"], default="none")
args.add_argument("--cert")
args.add_argument("--key")
args.add_argument("--user")
args.add_argument("--password")
args.add_argument("--port", type=int, default=0)
args = args.parse_args()
seen = set()


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        user = address.split("@")[0]
        if user.startswith("refused"):
            return "550 5.1.1 There is no such mailbox here"
        if user.startswith("busy") or (user.startswith("once") and address not in seen):
            seen.add(address)
            return "451 4.7.1 Greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        users = {address.split("@")[0].split("+")[0] for address in envelope.rcpt_tos}
        if "slow" in users:
            await asyncio.sleep(2)
        if "hangs" in users:
            await asyncio.sleep(15)
            return "421 too late"
        if "closed" in users:
            server.transport.abort()
            return "421 gone"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = lambda kind: (lambda body: body.get_content() if body else None)(message.get_body((kind,)))
        defects = [str(defect) for p in message.walk() for defect in p.defects]
        line = {
            "to": envelope.rcpt_tos, "from": envelope.mail_from, "peer": session.peer[1], "tls": server.transport.get_extra_info("ssl_object") is not None,
            "user": getattr(session, "auth_data", None), "headers": [[k, str(v)] for k, v in message.items()],
            "text": part("plain"), "html": part("html"), "defects": defects, "raw": envelope.content.decode("ascii"),
        }
        with open(args.mailbox, "a") as out:
            out.write(json.dumps(line) + "\n")
            out.flush()
            os.fsync(out.fileno())
        if "lost" in users:
            server.transport.abort()
        return "250 2.0.0 Ok: queued as 4Fh2Qx"


def authenticate(server, session, envelope, mechanism, data):
    login, password = data.login.decode(), data.password.decode()
    good = (login, password) == (args.user, args.password)
    return AuthResult(success=good, handled=good, auth_data=login)


context = None
if args.tls != "none":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(args.cert, args.key)


def session():
    return SMTP(
        Handler(), hostname="mail.test", enable_SMTPUTF8=True, tls_context=context if args.tls == "starttls" else None,
        require_starttls=args.tls == "starttls", authenticator=authenticate if args.user else None, auth_required=bool(args.user),
        auth_require_tls=args.tls == "starttls", timeout=600, data_size_limit=None,
    )


async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    server = await loop.create_server(session, "127.0.0.1", args.port, ssl=context if args.tls == "wrapped" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
