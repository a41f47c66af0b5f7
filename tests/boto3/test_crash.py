"""kill -9 in the middle of the work: what was acknowledged is there."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import BotoCoreError

from lido import PASSWORD, Lido, Pool

THREADS = 12
ENOUGH = 300


class Load:
    """Threads that sign users up, confirm and change them, and note what was acknowledged."""

    def __init__(self, lido: Lido, pool: Pool, round_: int):
        self.lido, self.pool, self.round = lido, pool, round_
        # Of each user: the last acknowledged nickname, or None if only the sign-up was acknowledged.
        self.acknowledged: dict[str, str | None] = {}
        # And the nickname that was on its way when the server died.
        self.attempted: dict[str, str] = {}
        self.enough = threading.Event()
        self.stop = threading.Event()

    def run(self, thread: int) -> None:
        client = self.lido.client()
        number = 0
        while not self.stop.is_set():
            name = f"user-{self.round}-{thread}-{number}"
            number += 1
            try:
                client.sign_up(ClientId=self.pool.client_id, Username=name, Password=PASSWORD)
                self.acknowledged[name] = None
                client.admin_confirm_sign_up(UserPoolId=self.pool.id, Username=name)
                for value in ("first", "second"):
                    self.attempted[name] = value
                    client.admin_update_user_attributes(
                        UserPoolId=self.pool.id,
                        Username=name,
                        UserAttributes=[{"Name": "nickname", "Value": value}],
                    )
                    self.acknowledged[name] = value
            except BotoCoreError:
                # The server is gone, or its answer was cut off.
                return
            if len(self.acknowledged) >= ENOUGH:
                self.enough.set()


def test_nothing_acknowledged_is_lost(start, tmp_path) -> None:
    data = str(tmp_path / "data")
    lido = start(data=data)
    pool = Pool(lido, AutoVerifiedAttributes=[])
    acknowledged: dict[str, str | None] = {}
    attempted: dict[str, str] = {}
    for round_ in range(3):
        load = Load(lido, pool, round_)
        with ThreadPoolExecutor(THREADS) as threads:
            running = [threads.submit(load.run, thread) for thread in range(THREADS)]
            assert load.enough.wait(60)
            lido.kill()
            load.stop.set()
            for thread in running:
                thread.result(60)
        acknowledged |= load.acknowledged
        attempted |= load.attempted

        began = time.monotonic()
        lido = start(data=data)
        assert time.monotonic() - began < 5
        pool.lido, pool.cognito = lido, lido.client()
        users = {
            user["Username"]: {attribute["Name"]: attribute["Value"] for attribute in user["Attributes"]}
            for page in pool.cognito.get_paginator("list_users").paginate(UserPoolId=pool.id)
            for user in page["Users"]
        }
        missing = acknowledged.keys() - users.keys()
        assert not missing
        for name, nickname in acknowledged.items():
            # What was on its way may have arrived too; older than what was acknowledged it may not be.
            assert users[name].get("nickname") in {nickname, attempted.get(name)}, name
    # Somebody of the first round still signs in, with the keys of before.
    name = next(name for name, nickname in acknowledged.items() if nickname == "second")
    assert pool.sign_in(name)["AccessToken"]
