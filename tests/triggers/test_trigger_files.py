"""Triggers as declarative files: what they stand for, and what is wrong with them (D.1)."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskbus.trigger_files import read_triggers

TASK = {"taskQueueId": "crawl/fetch", "payload": {"keep-this": 1}}
CRAWL = {
    "name": "crawl/urls",
    "worker-kv": {
        "namespace": "acme:crawl",
        "operation": {
            "pop-batch": {"set": "urls", "limit": 50, "lease-ttl-ms": 30000, "ack-mode": "ack-each"}
        },
        "retry": {"timeout": "5s", "retries": 3},
    },
    "task": TASK,
}


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "triggers.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_an_input_that_pops_is_a_trigger_that_drains_a_workset(tmp_path: Path) -> None:
    (found,) = read_triggers(written(tmp_path, json.dumps(CRAWL)))
    assert (found.group, found.trigger_id) == ("crawl", "urls")
    wire = found.definition.to_wire()
    assert wire["popBatch"] == {
        "namespace": "acme:crawl",
        "set": "urls",
        "limit": 50,
        "leaseTtlMs": 30000,
        "ackMode": "ack-each",
    }
    assert (wire["retry"], wire["task"]) == ({"timeout": 5, "retries": 3}, TASK)


def test_an_input_that_gets_has_a_trigger_of_its_own(tmp_path: Path) -> None:
    given = {
        "name": "reports/city",
        "worker-kv": {
            "namespace": "acme:settings",
            "operation": {"get": {"key": "city"}},
            "value-format": "raw-string",
            "trigger": {"cron": {"cron": "0 3 * * *", "random-offset": "5m"}},
        },
        "task": TASK,
    }
    (found,) = read_triggers(written(tmp_path, yaml.safe_dump(given)))
    wire = found.definition.to_wire()
    assert wire["input"] == {
        "namespace": "acme:settings",
        "get": {"key": "city"},
        "valueFormat": "raw-string",
    }
    assert (wire["cron"]["cron"], wire["cron"]["randomOffset"]) == (["0 3 * * *"], 300)


def test_a_file_may_have_several_as_documents_or_as_a_list(tmp_path: Path) -> None:
    every = {"name": "a/b", "interval": {"duration": "1m"}, "payload-schema": {"x-y": 1}, "task": TASK}
    for text in (yaml.safe_dump_all([every, CRAWL]), json.dumps([every, CRAWL])):
        found = read_triggers(written(tmp_path, text))
        assert [one.trigger_id for one in found] == ["b", "urls"]
        assert found[0].definition.payload_schema == {"x-y": 1}


def worker_kv(**members: Any) -> dict[str, Any]:
    return {**CRAWL, "worker-kv": {**CRAWL["worker-kv"], **members}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({**CRAWL, "name": "urls"}, "trigger 1: name: expected <group>/<id>"),
        ({**CRAWL, "overlaps": "skip"}, "trigger 1: overlaps: "),
        (worker_kv(keys=1), "trigger 1: worker-kv.keys: there is no such member"),
        (worker_kv(operation={"pop": {}}), "worker-kv.operation.pop: there is no such member"),
        (worker_kv(operation={}), "worker-kv.operation: expected exactly one of get, pop-batch, iterate"),
        (worker_kv(operation={"pop-batch": {"set": "a", "limitt": 5}}), "pop-batch.limitt: "),
        (worker_kv(operation={"get": {"key": "a"}}), "worker-kv.trigger: is required for get"),
        (worker_kv(trigger={"timer": {}}), "worker-kv.trigger.timer: there is no such member"),
        (worker_kv(trigger={"cron": {"cron": "0 3 * * *", "random-offsets": 1}}), "cron.random-offsets: "),
        (worker_kv(retry={"timeout": "soon"}), "retry.timeout: "),
        (worker_kv(namespace="acme"), "namespace: "),
        (
            {"name": "a/b", "interval": {"duration": "1m", "random-offset": -1}, "task": {}},
            "interval.random-offset",
        ),
        ({"name": "a/b", "task": {}}, "exactly one of"),
        ([], "expected at least one trigger"),
        ("text", "trigger 1: expected an object"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_in_the_words_of_the_file(
    tmp_path: Path, given: object, told: str
) -> None:
    with pytest.raises(ValueError, match=r"triggers\.yaml") as caught:
        read_triggers(written(tmp_path, json.dumps(given)))
    assert told in str(caught.value)


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither YAML nor JSON"):
        read_triggers(written(tmp_path, "a: ["))
    with pytest.raises(ValueError, match="No such file"):
        read_triggers(tmp_path / "nowhere.yaml")
