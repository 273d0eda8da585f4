"""Checks compose.yaml against the compose specification's types, and against what this project wants of each service.

usage: compose_check.py FILE
"""

import json
import re
import sys
from pathlib import Path

import yaml
from compose_spec import PyCompose


def interpolated(text: str) -> str:
    """The file as it is read where no variable is set."""
    text = re.sub(r"\$\{[A-Za-z_]+:-([^}]*)\}", r"\1", text)
    left = re.search(r"(?<!\$)\$\{?[A-Za-z_]", text)
    if left:
        raise ValueError(f"a variable without a default: {text[left.start() : left.start() + 30]!r}")
    return text.replace("$$", "$")


def complaints(document: dict, folder: Path) -> list[str]:
    """What is wrong with the services, by our own rules."""
    found = []

    def want(holds: object, what: str) -> None:
        if not holds:
            found.append(what)

    for name, service in document["services"].items():
        want(service.get("read_only") is True, f"{name}: read_only is not set")
        want(service.get("cap_drop") == ["ALL"], f"{name}: capabilities are not dropped")
        want("no-new-privileges:true" in service.get("security_opt", []), f"{name}: new privileges are allowed")
        want(not service.get("privileged") and not service.get("cap_add"), f"{name}: has privileges")
        want(service.get("healthcheck", {}).get("test"), f"{name}: no healthcheck")
        want(service.get("restart"), f"{name}: no restart policy")
        tag = service["image"].rpartition(":")[2]
        want(tag == "local" or re.search(r"\d", tag), f"{name}: {service['image']} has no version")
        for port in service.get("ports", []):
            want(str(port).startswith("127.0.0.1:"), f"{name}: {port} is published beyond loopback")
        for key, value in (service.get("environment") or {}).items():
            secret = re.search("PASSWORD|SECRET|TOKEN", key) and not key.endswith("_FILE")
            want(not secret, f"{name}: {key}={value} is a secret in the environment")
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source.startswith("."):
                want((folder / source).exists(), f"{name}: {source} is not there")
            else:
                want(source in document["volumes"], f"{name}: volume {source} is not declared")
        for secret in service.get("secrets", []):
            want(secret in document["secrets"], f"{name}: secret {secret} is not declared")
        for network in service.get("networks", []):
            want(network in document["networks"], f"{name}: network {network} is not declared")
        for other in service.get("depends_on", []):
            want(other in document["services"], f"{name}: depends on {other}, which is not there")
    for name, secret in document["secrets"].items():
        want(set(secret) == {"file"}, f"secret {name} comes from elsewhere than a file")
    return found


def main() -> int:
    """The command line."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(sys.argv[1])
    try:
        # Merge keys are YAML's and not the specification's: they are resolved first.
        document = yaml.safe_load(interpolated(path.read_text()))
        PyCompose.from_json(json.dumps(document)).validate()
        found = complaints(document, path.parent)
    except (OSError, ValueError, yaml.YAMLError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    for complaint in found:
        print(f"{path}: {complaint}", file=sys.stderr)
    if not found:
        print(f"compose: {len(document['services'])} services as wanted")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
