"""Clients by the dozen, declared and never called."""

from importer_pipeline.clients.collection import (
    Audience,
    Client,
    Clients,
    MailchimpSettings,
    RecordSpec,
    Secret,
    TargetSettings,
)


def client(name: str, *, audiences: int = 1, owner: str | None = None, variable: str = "PATH") -> Client:
    """A client whose secrets are in an environment variable."""
    return Client(
        name=name,
        owner=owner,
        mailchimp=MailchimpSettings(api_key=Secret(env=variable), base_url="http://127.0.0.1:9/3.0"),
        target=TargetSettings(url="http://127.0.0.1:9", api_key=Secret(env="PATH")),
        audiences=tuple(
            Audience(name=f"list-{number}", list_id=f"{number:010}", record=RecordSpec(id="{list_id}-{id}"))
            for number in range(audiences)
        ),
    )


def declared(*clients: Client, problems: tuple[str, ...] = ()) -> Clients:
    """These clients."""
    return Clients(clients=clients, problems=problems)
