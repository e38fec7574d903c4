"""What a person types: all commands with their arguments, options and help.

Each command imports its own module when it is run, so that `--help` starts at once. Stays out: what the commands do.
"""

import gc
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from importer_pipeline.cli.exits import ExitCode, failure
from importer_pipeline.errors import ImporterError

if TYPE_CHECKING:
    from importer_pipeline.clients.collection import Clients

_Command = TypeVar("_Command", bound=Callable[..., Any])

_EXIT_CODES = "Exit codes: 0 all is well, 1 problems were found, 2 the command can't be carried out as typed."


class _Commands(click.Group):
    """The commands in the order in which a new client needs them, with our errors as messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the declarations."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of ours becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except ImporterError as error:
            raise failure(error) from None


def _clients_option(command: _Command) -> _Command:
    return click.option(
        "--clients", "path", type=click.Path(path_type=Path), envvar="IMPORTER_CLIENTS", show_envvar=True,
        default=Path("clients.yaml"), show_default=True, help="The clients file, or a folder of such files.",
    )(command)  # fmt: skip


def _json_option(command: _Command) -> _Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


@click.group(cls=_Commands, epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="importer_pipeline", message="%(package)s %(version)s")
def cli() -> None:
    """Import Mailchimp contacts into an external API: set up, check and find out.

    \b
    A new client, from an empty folder:
      importer init                       write the files to start with
      importer discover                   see an account's audiences; get a stanza to paste
      importer check                      are all keys, lists, merge tags and targets right?
      importer preview acme/newsletter    which records would be sent?

    \b
    In operation:
      importer sync                       import what changed; --full imports everything
      importer status                     how far is each client? The worst comes first
      importer explain acme               where is this contact? Asks for the address

    Syncs are jobs of Dagster, and show in its UI: `importer sync` runs one here and now, schedules run them every hour.
    """


@cli.command(epilog=_EXIT_CODES)
@click.argument("names", nargs=-1, metavar="[CLIENT]...")
@_clients_option
@_json_option
def check(names: Sequence[str], path: Path, as_json: bool) -> None:
    """Check that each client can be imported. Nothing is changed.

    For each client: its secrets, whether Mailchimp and the target accept its keys, its lists and the merge tags of its
    mapping. Clients that share a Mailchimp account without saying so are found among those that are checked. The target
    gets an empty list, which stores nothing.

    \b
    Examples:
      importer check                      all clients
      importer check acme globex          two of them
      importer check --json | jq '.clients[] | select(.ok | not)'
    """
    from importer_pipeline.checking.check import check_clients
    from importer_pipeline.cli.check import document, show

    clients = _load(path)
    chosen = _selected(clients, names)
    checked = check_clients(chosen)
    if as_json:
        _print_json(document(checked, clients.problems))
    else:
        show(checked, clients.problems)
    if clients.problems or not all(client.is_well for client in checked):
        sys.exit(ExitCode.PROBLEMS)


@cli.command(epilog=_EXIT_CODES)
@click.argument("name", metavar="CLIENT/AUDIENCE")
@click.option("--count", type=click.IntRange(1, 100), default=3, show_default=True, help="Number of contacts.")
@_clients_option
@_json_option
def preview(name: str, count: int, path: Path, as_json: bool) -> None:
    """Show the first contacts of an audience as the records that would be sent.

    Each record is shown with its mapping and what Mailchimp holds, followed by the merge fields that are not mapped.
    Nothing is sent or stored. The output is personal data: it goes to this terminal only.

    \b
    Examples:
      importer preview acme/newsletter
      importer preview acme/newsletter --count 20 --json
    """
    from importer_pipeline.cli import preview as previewing

    [(client, audience)] = _load(path).select([], [name])
    found = previewing.preview(client, audience, count=count)
    if as_json:
        _print_json(previewing.document(name, found))
    else:
        previewing.show(name, found, audience.record_mapping())


@cli.command(epilog=_EXIT_CODES)
@click.option(
    "--env", "variable", metavar="NAME", help="The environment variable with the key. Without it, you are asked."
)
@click.option("--token", is_flag=True, help="The secret is an OAuth access token, not an API key.")
@click.option("--base-url", metavar="URL", help="The API's URL, if the key does not tell its data centre.")
@click.option("--name", metavar="CLIENT", help="A name for the client; without it, one is made of the account's name.")
@_json_option
def discover(variable: str | None, token: bool, base_url: str | None, name: str | None, as_json: bool) -> None:
    """Show the audiences of a Mailchimp account as a stanza for the clients file.

    The stanza has all audiences with their sizes and merge fields as comments, and a mapping guessed from the merge
    fields. The key is read from an environment variable, or asked for without echo, and never printed.

    \b
    Examples:
      importer discover --env ACME_MAILCHIMP_API_KEY --name acme
      importer discover --env ACME_MAILCHIMP_API_KEY > clients.yaml
      importer discover                   asks for the key
    """
    from importer_pipeline.cli import discover as discovering
    from importer_pipeline.cli.stanzas import StanzaSecret, clients_stanza, variable_prefix
    from importer_pipeline.mailchimp.credentials import CredentialKind

    kind = CredentialKind.ACCESS_TOKEN if token else CredentialKind.API_KEY
    secret = discovering.secret_of(variable) if variable else discovering.asked_secret(kind)
    client = discovering.checked_client_name(name) if name else None
    found = discovering.discover(secret, kind=kind, base_url=base_url)
    client = client or found.client_name
    suffix = "MAILCHIMP_TOKEN" if token else "MAILCHIMP_API_KEY"
    stated = StanzaSecret(key=kind.value, variable=variable or f"{variable_prefix(client)}_{suffix}", base_url=base_url)
    stanza = clients_stanza(client, found.lists, stated)
    if as_json:
        _print_json(discovering.document(found, stanza=stanza))
    else:
        click.echo(stanza, nl=False)


@cli.command(epilog=_EXIT_CODES)
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def init(folder: Path) -> None:
    """Write the files to start with: clients.yaml, dagster.yaml, .env.example and a README.

    FOLDER is created if needed; without it, the files go to the working folder. Nothing is overwritten.

    \b
    Examples:
      importer init mailchimp-imports
      cd mailchimp-imports && cat README.md
    """
    from importer_pipeline.cli.init import start_folder

    for written in start_folder(folder):
        click.echo(f"wrote {written}")
    click.echo(f"Go on with {folder / 'README.md'}")


@cli.command(epilog=_EXIT_CODES)
@click.argument("names", nargs=-1, metavar="[CLIENT]...")
@click.option("--full", "is_full", is_flag=True, help="Import all contacts: the job full_sync.")
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), metavar="FILE",
    help="The run's config, as for `dagster job execute -c`.",
)  # fmt: skip
@_clients_option
@_json_option
def sync(names: Sequence[str], is_full: bool, config_file: Path | None, path: Path, as_json: bool) -> None:
    """Import what changed since the last sync, or all contacts, here and now.

    CLIENT is a client or one of its audiences, as client/audience; without any, all are imported. It is a run of
    Dagster's job incremental_sync, or full_sync, in the instance of DAGSTER_HOME: it shows in the UI, waits for other
    syncs of the same Mailchimp accounts, and resumes what an earlier run left. Ctrl-C cancels it.

    \b
    Examples:
      importer sync                       what changed, all clients
      importer sync --full acme           all contacts of a client
      importer sync acme/newsletter --json
    """
    from importer_pipeline.cli import sync as syncing

    found = syncing.run_sync(_load(path), names, is_full=is_full, config_file=config_file, as_json=as_json)
    if as_json:
        _print_json(syncing.document(found))
    else:
        syncing.show(found)
    if not found.is_well:
        sys.exit(ExitCode.PROBLEMS)


@cli.command(epilog=_EXIT_CODES)
@click.argument("names", nargs=-1, metavar="[CLIENT]...")
@click.option(
    "--late-after",
    "late_after_hours",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    envvar="IMPORTER_LATE_AFTER_HOURS",
    show_envvar=True,
    show_default=True,
    metavar="HOURS",
    help="Lag from which an audience is late.",
)
@_clients_option
@_json_option
def status(names: Sequence[str], late_after_hours: float, path: Path, as_json: bool) -> None:
    """Show how far each audience is imported, the worst first.

    This is read from Dagster's storage, which DAGSTER_HOME names, so it works on any machine with the deployment's
    dagster.yaml. The last line says which storage was read. Problems are: an audience whose account is paused, one
    without a full sync, one that is late, and entries in the quarantine.

    \b
    Examples:
      importer status
      importer status acme --late-after 2
      importer status --json | jq '.audiences[] | select(.state != "well")'
    """
    from importer_pipeline.cli.status import document, read_status, show

    found = read_status(_load(path).select(names, []), late_after_seconds=late_after_hours * 3600)
    if as_json:
        _print_json(document(found))
    else:
        show(found)
    if not found.is_well:
        sys.exit(ExitCode.PROBLEMS)


@cli.command(epilog=_EXIT_CODES)
@click.argument("name", metavar="CLIENT")
@click.argument("contact", required=False, metavar="[ADDRESS-OR-ID]")
@_clients_option
@_json_option
def explain(name: str, contact: str | None, path: Path, as_json: bool) -> None:
    """Find out where a contact is on its way to the target.

    For each audience of the client: what Mailchimp holds now, the window or hour that its last change falls into, and
    whether that is imported, in the quarantine, or ahead of the watermark; why, and what to do.

    Without an address or id you are asked for it, or it is read from standard input, so that it stays out of the
    history of your shell. The output is personal data: it goes to this terminal only. Dagster's storage is read, which
    DAGSTER_HOME names.

    \b
    Examples:
      importer explain acme                                      asks for the address
      importer explain acme 62eeb292278cc15f5817cb78f7790b08     an id, as in the quarantine
      importer explain acme < address.txt
    """
    # Before Dagster is loaded, which takes a second.
    from importer_pipeline.cli.contact_ids import asked_contact, contact_id_of

    [client] = _selected(_load(path), [name])
    contact_id = contact_id_of(asked_contact() if contact is None else contact)
    from importer_pipeline.cli import explain as explaining

    found = explaining.explain(client, contact_id)
    if as_json:
        _print_json(explaining.document(found))
    else:
        explaining.show(found)
    if not found.is_well:
        sys.exit(ExitCode.PROBLEMS)


def main() -> None:
    """Run the command line, and exit."""
    # A command is short: what it loads and reads is needed to its end, and scanning it takes a quarter of the CPU time.
    gc.disable()
    cli(prog_name="importer")


def _load(path: Path) -> "Clients":
    from importer_pipeline.cli.declared import load_declared

    return load_declared(path)


def _selected(clients: "Clients", names: Sequence[str]) -> list[Any]:
    selected = clients.select(names, [])
    return list({client.name: client for client, _ in selected}.values())


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
