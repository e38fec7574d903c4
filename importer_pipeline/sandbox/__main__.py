"""`python -m importer_pipeline.sandbox`: a made-up world of clients, served until SIGINT or SIGTERM."""

import argparse
import gc
import json
import signal
import socket
import sys
from errno import EADDRINUSE
from pathlib import Path

from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.demo import DemoOptions, build_world, write_clients_file
from importer_pipeline.sandbox.faults import Fault, Latency
from importer_pipeline.sandbox.protocols import PROTOCOLS, SEED
from importer_pipeline.sandbox.server import Urls, listening, url_of, uvicorn_server
from importer_pipeline.sandbox.target import Manner

_NEW_OBJECTS_OF_A_SCAN = 50_000


def main(arguments: list[str] | None = None) -> int:
    """Build the world, announce it and serve it. The exit code is 0 after SIGINT or SIGTERM."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        listener = listening(chosen.port, chosen.host)
    except (OSError, OverflowError) as error:
        reason = "is in use" if isinstance(error, OSError) and error.errno == EADDRINUSE else "can't be used"
        parser.error(f"port {chosen.port} of {chosen.host} {reason}: choose another with --port (0 for a free one)")
    with listener:
        _serve(chosen, listener)
    return 0


def _serve(chosen: argparse.Namespace, listener: socket.socket) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_before_serving)
    world, keys = build_world(_options(chosen), Sandbox(seed=chosen.seed))
    # None of a million contacts and records is garbage: keep the collector from scanning them repeatedly.
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_OF_A_SCAN)
    server = uvicorn_server(world, changes_per_second=chosen.changes_per_second)
    # For signals before uvicorn handles them, and for those that it raises again once it has stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: setattr(server, "should_exit", True))
    urls = Urls(url_of(listener))
    if chosen.write_clients:
        write_clients_file(chosen.write_clients, world, keys, urls)
    _announce(urls, chosen.write_clients, as_json=chosen.json)
    server.run(sockets=[listener])


def _stop_before_serving(_number: int, _frame: object) -> None:
    sys.exit(0)


def _announce(urls: Urls, clients_file: Path | None, *, as_json: bool) -> None:
    places = {"url": urls.url, "mailchimp_url": urls.mailchimp_url, "target_url": urls.target_url}
    if as_json:
        print(json.dumps(places), flush=True)
        return
    print(f"Mailchimp   {urls.mailchimp_url}")
    print(f"Target      {urls.target_url}/record")
    print(f"Statistics  {urls.url}/sandbox/stats")
    print(f"Comparison  {urls.url}/sandbox/compare")
    if clients_file:
        print(f"Clients     {clients_file}   (import them with IMPORTER_CLIENTS={clients_file})")
    print("Serving until Ctrl-C.", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m importer_pipeline.sandbox",
        description="A Mailchimp and a target as faulty as the real ones, with made-up contacts.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8900, help="port to listen on; 0 for a free one")
    parser.add_argument("--write-clients", type=Path, metavar="FILE", help="write a clients file for this sandbox")
    parser.add_argument("--json", action="store_true", help="print the URLs as one line of JSON")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same contacts and keys")
    _add_world(parser)
    _add_fault_options(parser)
    return parser


def _add_world(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the world")
    group.add_argument("--clients", type=_natural, default=2, help="clients, each with an account of its own")
    group.add_argument("--audiences", type=_natural, default=1, help="audiences of each client")
    group.add_argument("--contacts", type=_natural, default=5000, help="contacts of each audience")
    group.add_argument("--archived", type=_share, default=0.1, help="share of archived contacts")
    group.add_argument("--target-protocol", choices=tuple(PROTOCOLS), default=SEED.name, help="what the targets speak")
    group.add_argument("--changes-per-second", type=float, default=0.0, help="changes per second, over all contacts")


def _add_fault_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faults")
    group.add_argument(
        "--latency", type=_latency, default="0", metavar="SECONDS", help="latency of Mailchimp; or LEAST-MOST"
    )
    group.add_argument(
        "--target-latency", type=_latency, default="0", metavar="SECONDS", help="latency of the target; or LEAST-MOST"
    )
    group.add_argument("--slow-share", type=_share, default=0.0, help="share of Mailchimp's answers that take 1 to 3 s")
    for fault in Fault:
        group.add_argument(_option(fault), type=_share, default=0.0, metavar="RATE", help=fault.value)
    group.add_argument("--target-errors", type=_share, default=0.0, metavar="RATE", help="500 from the target")
    group.add_argument(
        "--target-errors-after-storing", type=_share, default=0.0, metavar="RATE",
        help="500 from the target after it has stored the batch",
    )  # fmt: skip
    group.add_argument("--page-limit", type=_natural, help="pages of more members than this get a 504")
    group.add_argument("--revoked-client", action="store_true", help="refuse the last client's Mailchimp key")
    group.add_argument("--hanging-client", action="store_true", help="never answer the second to last client")
    group.add_argument(
        "--refused-contacts", type=int, default=0, help="contacts of each audience that the target refuses"
    )
    group.add_argument(
        "--refusal", choices=[manner.name.lower() for manner in Manner], default="count",
        help="whether the target leaves them out of its count or rejects the whole batch",
    )  # fmt: skip


def _options(chosen: argparse.Namespace) -> DemoOptions:
    latency: Latency = chosen.latency
    return DemoOptions(
        clients=chosen.clients, audiences=chosen.audiences, contacts=chosen.contacts, archived_share=chosen.archived,
        latency=Latency(
            least_seconds=latency.least_seconds, most_seconds=latency.most_seconds, slow_share=chosen.slow_share,
            slow_seconds=(1.0, 3.0),
        ),
        target_latency=chosen.target_latency,
        rates={fault: getattr(chosen, _option(fault)[2:].replace("-", "_")) for fault in Fault},
        target_rates={Fault.ERROR_500: chosen.target_errors},
        target_rates_after_storing={Fault.ERROR_500: chosen.target_errors_after_storing},
        page_limit=chosen.page_limit, revoked=chosen.revoked_client, hanging=chosen.hanging_client,
        refused=chosen.refused_contacts, manner=Manner[chosen.refusal.upper()], seed=chosen.seed,
        protocol=chosen.target_protocol,
    )  # fmt: skip


def _option(fault: Fault) -> str:
    return f"--{fault.name.lower().replace('_', '-')}"


def _natural(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is expected, not {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"a share from 0 to 1 is expected, not {text!r}")
    return share


def _latency(text: str) -> Latency:
    least, _, most = text.partition("-")
    try:
        return Latency(least_seconds=float(least), most_seconds=float(most or least))
    except ValueError:
        raise argparse.ArgumentTypeError(f"seconds or LEAST-MOST are expected, not {text!r}") from None


if __name__ == "__main__":
    sys.exit(main())
