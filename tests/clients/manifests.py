"""Reads Kubernetes manifests from standard input and prints them as one JSON array.

Usage: manifests.py [VERSION...]
Each manifest must be valid for the API of these Kubernetes versions and must have no other fields.
"""

import json
import sys

import yaml
from kubernetes_validate import ValidationError, validate

# Kinds that do not belong to Kubernetes, so that it has no schema for them.
CUSTOM_KINDS = {"PrometheusRule", "ServiceMonitor"}


def check(manifest, version):
    try:
        validate(manifest, version, strict=True)
    except ValidationError as error:
        path = ".".join(map(str, error.path))
        sys.exit(f"Kubernetes {version} refuses {manifest['kind']}: {path}: {error.message}")


if __name__ == "__main__":
    the_manifests = list(yaml.safe_load_all(sys.stdin))
    for the_manifest in the_manifests:
        if the_manifest["kind"] not in CUSTOM_KINDS:
            for the_version in sys.argv[1:]:
                check(the_manifest, the_version)
    json.dump(the_manifests, sys.stdout)
