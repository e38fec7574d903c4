"""`python -m benchmarks.bare CONTACTS`: ten bare threads that carry contacts with `requests` and `json` only.

The minimum cost of a Python program: each thread gets a page, decodes it, makes records, and posts them; nothing is
proved, retried or counted. Prints the cost of the threads, without the interpreter's start, as one line of JSON.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import requests

from importer_pipeline.clients.collection import Audience, Client, clients_from_environment

_THREADS = 10
_PAGE_SIZE = 1000
_SETTLED_SECONDS = 65


def main() -> None:
    """Carry that many contacts of the first audience of the clients that IMPORTER_CLIENTS names."""
    client = clients_from_environment().clients[0]
    offsets = iter(range(0, int(sys.argv[1]), _PAGE_SIZE))
    carried: list[int] = []
    threads = [
        threading.Thread(target=_carry, args=(client, client.audiences[0], offsets, carried)) for _ in range(_THREADS)
    ]
    wall, cpu = time.monotonic(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = {"wall_seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**took, "contacts": sum(carried)}))


def _carry(client: Client, audience: Audience, offsets: Iterator[int], carried: list[int]) -> None:
    url = f"{client.mailchimp.base_url}/lists/{audience.list_id}/members"
    until = datetime.fromtimestamp(int(time.time()) - _SETTLED_SECONDS, UTC).isoformat()
    query = {
        "fields": audience.record_mapping().fields, "count": _PAGE_SIZE, "sort_field": "last_changed",
        "sort_dir": "ASC", "before_last_changed": until,
    }  # fmt: skip
    with requests.Session() as mailchimp, requests.Session() as target:
        mailchimp.headers["Authorization"] = client.mailchimp.credentials().authorization()
        target.headers["Authorization"] = client.target.read_key().get_secret_value()
        for offset in offsets:
            page = json.loads(mailchimp.get(url, params={**query, "offset": offset}, timeout=60).content)
            records = [_record(member) for member in page["members"]]
            if records:
                target.post(f"{client.target.url}/record", json=records, timeout=60).raise_for_status()
            carried.append(len(records))


def _record(member: dict[str, Any]) -> dict[str, str]:
    return {
        "id": member["id"],
        "firstname": member["merge_fields"]["FNAME"],
        "lastname": member["merge_fields"]["LNAME"],
        "email": member["email_address"],
        "status": member["status"],
    }


if __name__ == "__main__":
    main()
