"""A connection that is incomplete or unsafe is refused with its remedy, before anything is sent."""

import json
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_ray.cluster import Cluster
from airflow_ray.operator import RayJobOperator
from airflow_ray.provider import get_provider_info


def connection(**settings: Any) -> Connection:
    if not isinstance(settings.get("extra", ""), str):
        settings["extra"] = json.dumps(settings["extra"])
    return Connection(**{"conn_id": "ray_x", "conn_type": "ray", "host": "127.0.0.1", **settings})


def test_loopback_needs_neither_tls_nor_token() -> None:
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        assert Cluster.from_connection(connection(host=host)).token is None


@pytest.mark.parametrize(
    ("settings", "lacks"),
    [
        ({}, "without https and without a token"),
        ({"password": "secret-token"}, "without https:"),
        ({"schema": "https"}, "without a token:"),
    ],
)
def test_a_remote_cluster_without_tls_or_token_is_refused(settings: dict[str, Any], lacks: str) -> None:
    with pytest.raises(ValueError, match=r"ray_x would send jobs to ray\.example\.com") as caught:
        Cluster.from_connection(connection(host="ray.example.com", **settings))
    assert lacks in str(caught.value) and "Remedy" in str(caught.value)
    assert "secret-token" not in str(caught.value)


def test_what_a_trusted_network_allows() -> None:
    allowed = Cluster.from_connection(connection(host="ray.example.com", extra={"allow_insecure": True}))
    assert allowed.url == "http://ray.example.com:8265"


def test_a_safe_remote_cluster() -> None:
    found = Cluster.from_connection(
        connection(
            host="ray.example.com",
            schema="https",
            port=443,
            password="secret-token",
            extra={"verify": "/etc/ca.pem", "dashboard_url": "https://ray.people.example.com/", "namespace": "prod"},
        )
    )
    assert (found.url, found.verify, found.namespace) == ("https://ray.example.com:443", "/etc/ca.pem", "prod")
    assert found.job_url("a b") == "https://ray.people.example.com/#/jobs/a%20b"
    assert "secret-token" not in repr(found)


def test_a_link_has_an_address_that_a_browser_can_resolve_or_there_is_none() -> None:
    inside = {"allow_insecure": True}
    assert Cluster.from_connection(connection(host="ray-head", extra=inside)).job_url("a") == ""
    shown = Cluster.from_connection(connection(host="ray-head", extra={**inside, "dashboard_url": "http://ray.lan/"}))
    assert shown.job_url("a") == "http://ray.lan/#/jobs/a"
    assert Cluster.from_connection(connection()).job_url("a") == "http://127.0.0.1:8265/#/jobs/a"


@pytest.mark.parametrize("runtime_env", ['{"env_vars": {"A": "1"}}', {"env_vars": {"A": "1"}}])
def test_a_runtime_environment_comes_as_text_of_the_form_or_as_json(runtime_env: Any) -> None:
    found = Cluster.from_connection(connection(extra={"runtime_env": runtime_env}))
    assert found.runtime_env == {"env_vars": {"A": "1"}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": None}, "names no host"),
        ({"schema": "ftp"}, "Remedy: http or https"),
        ({"host": "http://ray.example.com:8265"}, "host is a URL. Remedy: set host ray.example.com, scheme http and"),
        ({"host": "ray.example.com:8265"}, "host is 'ray.example.com:8265', no name or address of a machine"),
        ({"host": "ray.example.com/jobs"}, "no name or address"),
        ({"host": "ray example"}, "no name or address"),
        ({"host": "me:word@ray"}, "host holds an @, no name"),
        ({"host": "[::1"}, "no name or address"),
        ({"port": 0}, "port 0. Remedy: a number from 1 to 65535"),
        ({"port": 70000}, "port 70000"),
        ({"password": "secret-token\n"}, "password .the token. holds a space, a line's end"),
        ({"password": "secret-tökén"}, "password .the token. holds"),
        ({"extra": "{'verify': false}"}, "extra is no JSON .*double quotes"),
        ({"extra": "[1]"}, "extra is a list"),
        ({"extra": {"verfy": "/ca.pem"}}, "unknown key 'verfy'. Remedy: write 'verify'"),
        ({"extra": {"pool": 3}}, "unknown key 'pool'. Remedy: take it out; the keys are allow_insecure, verify"),
        ({"extra": {"runtime_env": "{"}}, "runtime_env is no JSON"),
        ({"extra": {"runtime_env": "[1]"}}, "runtime_env is no JSON object"),
        ({"extra": {"verify": 3}}, "verify is 3"),
        ({"extra": {"allow_insecure": "maybe"}, "host": "ray.example.com"}, "allow_insecure is 'maybe'"),
        ({"extra": {"namespace": 3}}, "namespace is a int"),
        ({"extra": {"working_dir": ["/x"]}}, "working_dir is a list"),
        ({"extra": {"dashboard_url": "javascript:alert(1)"}}, "dashboard_url is 'javascript"),
        ({"extra": {"headers": {"X-Key": "secret-1\r\nX: y"}}}, "headers has 'X-Key', whose name or value"),
        ({"extra": {"headers": {"X Key": "secret-1"}}}, "headers has 'X Key'"),
        ({"extra": {"headers": {"X-Key": 1}}}, "headers has 'X-Key', a int. Remedy: set texts"),
        ({"extra": {"headers": {"Cookie": "a=secret-1"}}}, "cookies belong into the field cookies"),
        ({"password": "secret-1", "extra": {"headers": {"authorization": "secret-2"}}}, "Authorization beside"),
        ({"extra": {"cookies": {"a": "secret-1; b=c"}}}, "cookies has a name or value"),
        ({"extra": {"cookies": {"a b": "secret-1"}}}, "cookies has a name or value"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy_and_not_tried_again(settings: dict[str, Any], message: str) -> None:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowFailException

    made = connection(**settings)
    with pytest.raises(ValueError, match=message) as caught:
        Cluster.from_connection(made)
    assert "Remedy: " in str(caught.value) and "connection ray_x" in str(caught.value)
    assert "secret-" not in str(caught.value)
    operator = RayJobOperator(task_id="job", entrypoint=["x"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseHook, "get_connection", classmethod(lambda cls, conn_id: made))
        with pytest.raises(AirflowFailException, match=message):
            operator.execute({})  # type: ignore[typeddict-item]


def test_the_form_has_a_field_for_every_key_and_secrets_are_not_printed() -> None:
    """A secret is masked in logs as soon as the connection is read."""
    from airflow.sdk._shared.secrets_masker import redact

    extra = {"headers": {"X-Key": "secret-header"}, "cookies": {"session": "secret-cookie"}}
    found = Cluster.from_connection(connection(password="secret-token", extra=extra))
    assert found.headers == extra["headers"] and found.cookies == extra["cookies"]
    assert "secret-" not in repr(found)
    assert "secret-" not in str(redact("a line with secret-header and secret-cookie"))


def test_airflow_takes_the_form_and_the_link_from_the_installed_provider() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.hooks["ray"].hook_name == "Ray"  # type: ignore[union-attr]
    fields = {f"extra__ray__{name}" for name in get_provider_info()["connection-types"][0]["conn-fields"]}
    assert fields <= set(manager.connection_form_widgets)
    assert manager.field_behaviours["ray"]["relabeling"]["password"] == "Token"
    assert "airflow_ray.links.RayJobLink" in manager.extra_links_class_names
